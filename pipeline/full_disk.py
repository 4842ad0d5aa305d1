"""A full disk in one line, by its name: libraries that write seldom say which it was."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from components.core.errors import PipelineError, causes
from components.io import files
from components.tracking import server


def explain(error: BaseException) -> str:
    """Which file system is full, if that is what an error means; otherwise nothing.

    Where no file is named, it is the one with the least space left: whoever failed to write may
    have deleted what it began.
    """
    if not files.is_full(error):
        return ""
    place = _named(error) or min(_places(), key=_free)
    left = _free(place) / (1 << 20)
    return f"No space left on the file system {files.file_system(place)} ({left:,.1f} MiB, {place})"


def _named(error: BaseException) -> Path | None:
    """The file that could not be written, if an error says so: of a copy, it is the second."""
    for cause in causes(error):
        if isinstance(cause, OSError):
            for name in (cause.filename2, cause.filename):
                if isinstance(name, str):
                    return Path(name)
    return None


def _places() -> Iterator[Path]:
    """Where a command writes: each may be a file system of its own."""
    with suppress(OSError):  # no folder for temporary files at all
        yield Path(tempfile.gettempdir())
    with suppress(PipelineError):
        if file := server.sqlite_file(server.tracking_uri()):
            yield from (file.parent, file.parent / "mlartifacts")
    yield from (Path(), Path("cache"), *Path("artifacts").glob("*"))


def _free(path: Path) -> int:
    """Bytes left for this user on the file system of a path, which need not exist."""
    status = os.statvfs(files.file_system(path))
    return status.f_bavail * status.f_frsize
