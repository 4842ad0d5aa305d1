"""How many of the cores that this process may use others keep busy, and what that costs.

A training waits in every layer for its slowest thread, so one busy neighbor slows all of it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from components.io.data.cpus import usable_cpus

# Fewer are what any machine does beside.
NOTICEABLE = 0.3

# What one busy core adds to the time of a training, in its times: it becomes 5 times as long.
_ONE_CORE = 4.0

_STAT = Path("/proc/stat")
_USER_TO_STEAL = slice(0, 8)
_IDLE = (3, 4)  # and waiting for a disk


class Neighbors:
    """What other processes use from now on."""

    def __init__(self) -> None:
        self._started, self._busy, self._own = time.monotonic(), _busy_seconds(), _own_seconds()

    def cores(self) -> float:
        """Cores that were busy with others since, on average; 0 where that is not known."""
        seconds = time.monotonic() - self._started
        others = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return min(max(0.0, others / seconds), float(usable_cpus())) if seconds else 0.0


def look(seconds: float) -> float:
    """Cores that others keep busy during the next seconds."""
    neighbors = Neighbors()
    time.sleep(seconds)
    return neighbors.cores()


def slowdown(busy: float) -> float:
    """How many times as long a training takes beside so many busy cores.

    A core that is shared gives a thread a part of its time, and in every layer all others wait for
    that one: 5 times as long was measured beside one (docs/decisions/0073-what-a-run-will-cost.md).

    Args:
        busy: cores that others keep busy.
    """
    return 1 + _ONE_CORE * min(1.0, busy)


def _busy_seconds() -> float:
    """Of all cores that this process may use, since the machine started."""
    affinity = getattr(os, "sched_getaffinity", None)
    if affinity is None or not _STAT.exists():
        return 0.0
    ticks = 0
    for line in _STAT.read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in affinity(0):
            numbers = [int(field) for field in fields][_USER_TO_STEAL]
            ticks += sum(number for k, number in enumerate(numbers) if k not in _IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    return time.process_time()
