"""How many CPUs this process may use: what its affinity and its control group allow."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """The number of threads that can compute at once; on a node, a container has a part of it."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, cgroup_quota())))


def cgroup_quota(root: Path = _CGROUPS, own: Path = _OWN) -> float:
    """CPUs that the control groups of this process may use; infinite without a limit.

    Args:
        root: where control groups are mounted.
        own: the groups of this process, as the kernel lists them.
    """
    return min(_quotas(root, own), default=math.inf)


def _quotas(root: Path, own: Path) -> Iterator[float]:
    groups = []
    with suppress(OSError):
        groups = [line.split(":", 2) for line in own.read_text().splitlines()]
    for _, controllers, path in groups:
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "cpu" if controllers else root
        inner = Path(path.lstrip("/"))
        for folder in (inner, *inner.parents):  # the limit may be on any of them
            yield from _read(mount / folder)


def _read(folder: Path) -> Iterator[float]:
    """Of version 2 of control groups, or of version 1."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        yield float(quota) / float(period)  # "max" is no number
    with suppress(OSError, ValueError):
        quota, period = (
            (folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
        )
        if int(quota) > 0:
            yield int(quota) / int(period)
