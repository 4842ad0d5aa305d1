"""What a step costs: time, processor time and memory, written beside its results."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.io import costs, files
from pipeline import step_lock


@contextmanager
def measured(step: str, paths: Any) -> Iterator[None]:
    """Measure what runs inside, and write it into the folder of the step.

    Also append step, seconds and peak MiB to the file that PIPELINE_TIMINGS names, if any. A step
    that raises leaves nothing.

    Args:
        step: its name.
        paths: its `Paths`.
    """
    started, earlier = time.monotonic(), _processor_seconds(resource.RUSAGE_CHILDREN)
    yield
    used = sum(map(_processor_seconds, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    cost = costs.Cost(
        seconds=round(time.monotonic() - started, 1),
        processor_seconds=round(used - earlier, 1),
        peak_mib=peak_mebibytes(),
    )
    for folder in step_lock.folders(step, paths):
        files.write_artifact(folder / costs.FILE, cost)
    if path := os.environ.get("PIPELINE_TIMINGS"):
        with Path(path).open("a") as file:
            file.write(f"{step} {cost.seconds:.1f} {cost.peak_mib}\n")


def _processor_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def peak_mebibytes() -> int:
    """Most memory of this process alone: on Linux, ru_maxrss begins with the size of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
