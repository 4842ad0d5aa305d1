"""A program run as a whole: when its batches and steps were, how long it took, its memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
STOPWATCH = Path(__file__).parent / "stopwatch"

_SAMPLE_SECONDS = 1.0  # between two looks at the memory


@dataclass(frozen=True)
class Finished:
    """What a program did, as seen from outside; times in seconds since its launch.

    Attributes:
        seconds: from launch to end.
        peak_mib: largest proportional set size of the program and its children, MiB.
        peak_own_mib: the same without mapped files, which the system may drop.
        first_batch: when the first batch entered the network; None if none did.
        steps: when each step of the optimizer ended.
        inside: seconds in some functions of this project, all processes together.
    """

    seconds: float
    peak_mib: float
    peak_own_mib: float
    first_batch: float | None
    steps: list[float]
    inside: dict[str, float]


class ProgramFailed(Exception):
    """A program ended with another exit code than 0."""


def run(
    command: Sequence[str | Path],
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        command: program and arguments.
        folder: where it runs.
        environment: changes to this process's own.

    Raises:
        ProgramFailed: with the last lines that it printed.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory() as scratch:
        events, output = Path(scratch) / "events", Path(scratch) / "output"
        variables = {**os.environ, **(environment or {}), "BENCH_EVENTS": str(events)}
        variables["PYTHONPATH"] = f"{STOPWATCH}{os.pathsep}{variables.get('PYTHONPATH', ROOT)}"
        started = time.time()
        with output.open("w") as file:
            process = subprocess.Popen(  # noqa: S603
                words, cwd=folder, env=variables, stdout=file, stderr=subprocess.STDOUT
            )
        with process, _Memory(process.pid) as memory:
            process.wait()
            ended = time.time()
        if process.returncode:
            tail = "\n".join(output.read_text().splitlines()[-20:])
            raise ProgramFailed(f"{' '.join(words)} ended with {process.returncode}:\n{tail}")
        return _finished(started, ended, memory, _read(events))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _finished(
    started: float, ended: float, memory: _Memory, events: Sequence[Mapping[str, Any]]
) -> Finished:
    batches = [moment - started for event in events for moment in event["first_batch"]]
    steps = sorted(moment - started for event in events for moment in event["steps"])
    inside: dict[str, float] = {}
    for event in events:
        for name, seconds in event["seconds"].items():
            inside[name] = inside.get(name, 0.0) + seconds
    peaks = memory.peak_mib, memory.peak_own_mib
    return Finished(ended - started, *peaks, min(batches, default=None), steps, inside)


class _Memory:
    """A thread that looks at the memory of a process and its children until it ends."""

    def __init__(self, pid: int) -> None:
        self.peak_mib = self.peak_own_mib = 0.0
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            found = [_mebibytes(pid) for pid in _family(self._pid)]
            self.peak_mib = max(self.peak_mib, sum(whole for whole, _ in found))
            self.peak_own_mib = max(self.peak_own_mib, sum(own for _, own in found))


def _family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    children: list[str] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    for child in children:
        yield from _family(int(child))


def _mebibytes(pid: int) -> tuple[float, float]:
    """Of a process, and without mapped files; shared pages count by their share.

    0 where there is no /proc, or the process is gone.
    """
    sizes = {"Pss": 0.0, "Pss_File": 0.0}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, text = line.partition(":")
            if name in sizes:
                sizes[name] = int(text.split()[0]) / 1024
    return sizes["Pss"], sizes["Pss"] - sizes["Pss_File"]
