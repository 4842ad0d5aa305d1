"""The shell around a command: one line per error, honest exit codes."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from components.core.errors import PipelineError, causes

EXIT_USAGE = 2
EXIT_NEEDS_ACTION = 3
EXIT_INTERNAL_ERROR = 70
EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 128 + 13


def exit_code_of(action: Callable[[], object], name: str) -> int:
    """Run `action`; map what it raises to an exit code and one line on stderr.

    Args:
        action: may return an exit code of its own; anything else counts as 0.
        name: of the command, for the messages.
    """
    _print_anything()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    _quiet_down()
    try:
        code = action()
        print(end="", flush=True)  # here, so that a reader who has gone is noticed below
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the one place where it becomes an exit code
        return _report(error, name)
    return code if isinstance(code, int) else 0


def _print_anything() -> None:
    """Let no character and no closed stream stop a command.

    What the terminal's encoding lacks, e.g. a class name in kanji, is printed as its escape.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _report(error: Exception, name: str) -> int:
    # Only here: no command that ends well waits for them.
    from components.core.training import memory
    from pipeline import full_disk

    what = ""
    if full := full_disk.explain(error):
        what = f"{name}: {full}; free some"
    elif isinstance(error, OSError) and error.filename is not None:
        # Of a file: permissions, a broken mount. Without one it is our error.
        what = f"{error.filename}: {error.strerror}; fix that"
    elif found := next(filter(memory.is_out_of_memory, causes(error)), None):
        what = (
            f"{name}: out of memory ({memory.reason(found)}); give the process more, or use a "
            "smaller training.batch_size or model.image_size"
        )
    if what:
        print(f"error: {what}, then run the same command again.", file=sys.stderr)
        return PipelineError.exit_code
    traceback.print_exc()
    print(f"{name}: internal error; please report it with the lines above.", file=sys.stderr)
    return EXIT_INTERNAL_ERROR


def _quiet_down() -> None:
    """Telemetry off in code, and third-party chatter below WARNING out of the user's way."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    for noisy in ("alembic", "great_expectations", "matplotlib", "mlflow", "optuna"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries: we say what does not answer
