"""Stages end with the DVC that started them: an orphan would write under a newer run."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

# Set by whoever wants what it starts to end with it; DVC names the stage to each of its stages.
STARTED_BY = "PIPELINE_STARTED_BY"
_BY_DVC = "DVC_STAGE"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_SECONDS = 0.5

_SHELLS = {"ash", "bash", "busybox", "dash", "fish", "ksh", "sh", "zsh"}


def end_with_starter() -> None:
    """Have this process get SIGTERM when DVC or another starter ends, however that happens.

    Does nothing for what a person starts. On Linux the kernel watches the parent; a thread watches
    whoever started the shell, if one stands between.
    """
    if not {STARTED_BY, _BY_DVC} & os.environ.keys():
        return
    parent = os.getppid()
    kernel_watches = _ask_kernel()
    if str(parent) != os.environ.get(STARTED_BY, str(parent)) or os.getppid() != parent:
        _end()  # it ended while we began
    shell = _name_and_parent(parent)
    starter = shell[1] if shell and shell[0] in _SHELLS else None
    if starter is None and kernel_watches:
        return

    def watch() -> None:
        while os.getppid() == parent:
            if starter and _name_and_parent(parent) != shell:
                return _end()
            time.sleep(_POLL_SECONDS)
        return None if kernel_watches else _end()

    threading.Thread(target=watch, daemon=True).start()


def dvc_process() -> str:
    """Names the DVC that runs this stage, past a shell between; empty for what a person starts."""
    if _BY_DVC not in os.environ:
        return ""
    parent = os.getppid()
    shell = _name_and_parent(parent)
    process = shell[1] if shell and shell[0] in _SHELLS else parent
    return f"{process} {_began(process)}"


def _began(process: int) -> str:
    """When it did, in ticks since the machine's start: numbers of processes come again."""
    stat = _stat(process)
    return stat[1][19] if stat else ""


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _ask_kernel() -> bool:
    """Whether the kernel sends SIGTERM when the parent ends: Linux alone does."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) == 0)


def _name_and_parent(process: int) -> tuple[str, int] | None:
    stat = _stat(process)
    return (stat[0], int(stat[1][1])) if stat else None


def _stat(process: int) -> tuple[str, list[str]] | None:
    """Name of a process and what follows it, as /proc tells; None where it does not."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return None
    start, _, rest = text.rpartition(")")  # the name may hold spaces and parentheses
    return start.partition("(")[2], rest.split()
