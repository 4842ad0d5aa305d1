"""The speeds of this machine: measured once for each kind of work, kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from components.core.errors import PipelineError
from components.io import files
from components.io.data.cpus import usable_cpus
from pipeline.busy_cores import NOTICEABLE
from pipeline.forecast import probe
from pipeline.forecast.costs import Speeds
from pipeline.forecast.probe import Task

FILE = "speeds.json"

# The most that a run waits for them, and one that goes on behind validate, as after a kill.
_SECONDS, _SECONDS_LATER = 30.0, 10.0

# Code whose speed is measured, below `components`.
_CODE = ("core/data", "core/training", "io/data", "io/process.py", "io/checkpoints.py")


def of_this_machine(task: Task, cache: Path, *, later: bool = False) -> Speeds:
    """Those that were kept of this very task on this machine, else measured now.

    What was measured beside busy neighbors is measured again by the next run from the start.

    Args:
        task: what is measured.
        cache: folder that keeps them; safe to delete.
        later: for a run that goes on behind its first step.

    Raises:
        PipelineError: they cannot be measured; the message is the reason.
    """
    key = key_of(task)
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads((cache / FILE).read_text())
        if kept["key"] == key:
            found = Speeds(**kept["speeds"])
            if later or found.busy_cores < NOTICEABLE:
                return found
    measured = _measure_aside(task, _SECONDS_LATER if later else _SECONDS)
    with suppress(OSError, PipelineError):
        content = {"key": key, "speeds": asdict(measured)}
        files.write_text(cache / FILE, json.dumps(content, indent=1) + "\n")
    return measured


def key_of(task: Task) -> str:
    """Names all that the speeds depend on: data, settings, code, versions, machine."""
    facts = {
        "images": [str(task.images.resolve()), *task.files],
        "bytes": [(task.images / name).stat().st_size for name in task.files],
        "settings": [each.model_dump(mode="json") for each in (task.data, task.model)],
        "training": task.training.model_dump(mode="json"),
        "counts": [task.trial_size, *task.train, task.trial, task.val, task.test],
        "code": files.digest_sources(_CODE),
        "versions": [sys.version, *(metadata.version(name) for name in ("torch", "pillow"))],
        "machine": [platform.node(), _processor(), usable_cpus(), *_gpus()],
        "environment": [os.environ.get(name) for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")],
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _gpus() -> list[str]:
    """As the driver names them; torch, which would know, is not imported here."""
    return [path.read_text() for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/info*"))]


def _measure_aside(task: Task, seconds: float) -> Speeds:
    """Measure in a process of its own: torch stays out of this one, and so does its memory."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(task, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            raise PipelineError(f"its speed is not known after {seconds:.0f} s")
        answer: Speeds | str = ours.recv()
    except EOFError:
        process.join()
        raise PipelineError(f"measuring ended with exit code {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(answer, str):
        raise PipelineError(answer)
    return answer


def _work(task: Task, connection: Connection) -> None:
    """What the process does; its own warnings are nobody's concern."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a killed process leaves behind
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    try:
        answer: Speeds | str = probe.measure(task)
    except Exception as error:  # noqa: BLE001 - a forecast never ends a run
        answer = (str(error) or type(error).__name__).splitlines()[0]
    connection.send(answer)
