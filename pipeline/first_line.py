"""A run begins with what it will cost: said by the first step that really runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipeline import starter

# In the folder of the manifest: the DVC whose run has begun.
_FILE = ".begun"


@contextmanager
def told(step: str, paths: Any) -> Iterator[None]:
    """Say what the run will cost before its first step, and what stands in its way behind validate.

    Args:
        step: that runs now.
        paths: its `Paths`.
    """
    if _begins(step, paths):
        _say(step, paths)
    yield
    if step == "validate":
        from pipeline import foresight

        for notice in foresight.notices(paths):
            print(f"validate  warning: {notice}")


def _begins(step: str, paths: Any) -> bool:
    """Whether a run begins with this step: validate always does, the others only for a new DVC.

    Not register: DVC repeats it in every run, also where nothing else is to do.
    """
    run = starter.dvc_process()
    if step == "register" or (step != "validate" and not run):
        return False
    file, known = paths.manifest.parent / _FILE, ""
    with suppress(OSError):
        known = file.read_text()
    with suppress(OSError):  # on a full disk the line comes twice
        file.write_text(run)
    return step == "validate" or run != known


def _say(step: str, paths: Any) -> None:
    from components import validate
    from pipeline import forecast

    names = ("images", "manifest", "report", "cache")
    usual = validate.Paths(**{name: getattr(paths, name) for name in names})
    if line := forecast.first_line(usual, begin=step):
        print(line, flush=True)
