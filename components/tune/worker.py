"""Which process runs a trial, and whether it still does: numbers of workers may be given twice."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path


def identify() -> str:
    """This process: its host, its number and when it started."""
    return f"{_host()} {os.getpid()} {_started(os.getpid())}"


def has_ended(worker: str) -> bool:
    """Whether the process is gone for sure; False where this machine cannot know.

    Args:
        worker: what `identify` gave in it.
    """
    number, _, started = worker.rpartition("] ")[2].partition(" ")
    return is_here(worker) and _started(int(number)) != started


def is_here(worker: str) -> bool:
    """Whether the process runs, or ran, where this one can see it."""
    return worker.startswith(f"{_host()} ")


def _host() -> str:
    """Containers may share a name, but not what numbers their processes."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    return f"{platform.node()} []"


def _started(process: int) -> str | None:
    """When it started, in the kernel's ticks, empty where those are unknown; None = it is gone."""
    try:
        os.kill(process, 0)
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except ProcessLookupError:
        return None
    except PermissionError:  # somebody else's
        return ""
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else ""
    state, *numbers = text.rpartition(")")[2].split()
    return None if state == "Z" else numbers[18]
