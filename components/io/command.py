"""The shell around a command: one line per error, honest exit codes."""

import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from components import STEPS
from components.core.errors import PipelineError

INTERRUPTED = 130
BUG = 70


def exit_code_of(action: Callable[[], object], name: str) -> int:
    """Run `action`; map what it raises to an exit code and one line on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    _quiet_down()
    started = time.monotonic()
    try:
        code = action()
        print(end="", flush=True)  # here, so that a reader who has gone is noticed below
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except OSError as error:
        # Of a file: permissions, a full disk, a broken mount. Without one it is a bug.
        if error.filename is not None:
            what = f"{error.filename}: {error.strerror}"
            print(f"error: {what}; mend that, then run the same command again.", file=sys.stderr)
            return PipelineError.exit_code
        return _report_bug(name)
    except Exception:  # noqa: BLE001 - the one place where a bug becomes an exit code
        return _report_bug(name)
    _note_timing(name, time.monotonic() - started)
    return code if isinstance(code, int) else 0


def _report_bug(name: str) -> int:
    traceback.print_exc()
    print(f"{name}: this is a bug in the pipeline; please report it.", file=sys.stderr)
    return BUG


def _note_timing(name: str, seconds: float) -> None:
    """Append name, seconds and peak MiB to the file that PIPELINE_TIMINGS names, if any."""
    path = os.environ.get("PIPELINE_TIMINGS")
    if path and name in STEPS:
        with Path(path).open("a") as file:
            file.write(f"{name} {seconds:.1f} {_peak_mebibytes()}\n")


def _peak_mebibytes() -> int:
    """Of this process alone: on Linux, ru_maxrss begins with the size of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _quiet_down() -> None:
    """Telemetry off in code, and third-party chatter below WARNING out of the user's way."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    for noisy in ("alembic", "great_expectations", "matplotlib", "mlflow", "optuna", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
