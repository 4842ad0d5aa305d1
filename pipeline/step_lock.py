"""One owner for what a step writes: a lock on its folders, which the kernel releases."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from components.core.errors import PipelineError

# A file server may keep the locks of a machine that died for so long.
_LEASE_SECONDS = 120.0
_POLL_SECONDS = 0.5


def folders(step: str, paths: Any) -> list[Path]:
    """The folders that a step writes to.

    Args:
        step: its name.
        paths: its `Paths`; what is below artifacts/<step> by default is written.
    """
    own = Path("artifacts", step)
    written = {
        getattr(paths, field.name).parent
        for field in fields(paths)
        if isinstance(field.default, Path) and field.default.is_relative_to(own)
    }
    return sorted(written)


@contextmanager
def held(step: str, paths: Any) -> Iterator[None]:
    """Hold the lock of every folder that a step writes to.

    Args:
        step: its name.
        paths: its `Paths`, as for `folders`.

    Raises:
        PipelineError: another process runs the step there.
    """
    with ExitStack() as stack:
        for folder in folders(step, paths):
            stack.enter_context(_locked(step, folder))
        yield


@contextmanager
def _locked(step: str, folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{step}.lock").open("a+") as file:
        deadline = time.monotonic() + _LEASE_SECONDS
        while not _try_lock(file):
            file.seek(0)
            owner = file.read() or "another process"
            if _here() in owner or time.monotonic() > deadline:
                raise PipelineError(
                    f"{folder}: {step} is running as {owner}: end it or wait, then run the same "
                    "command again."
                )
            time.sleep(_POLL_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()}{_here()}since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        file.flush()
        yield
        file.truncate(0)


def _here() -> str:
    return f" on {platform.node()} "


def _try_lock(file: IO[str]) -> bool:
    """Whether nobody else has it; also where the file system knows no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
