"""The folder of a run on the cluster: a volume of its own, or a folder of a standing volume.

A standing volume (`cluster.workspace_claim`) is laid out as

    runs/<run id>/      checkout and outputs of a run, and the note `started`
    shared/dvc/         DVC's cache, so that images are fetched once
    shared/pixels/      decoded images, so that they are decoded once
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from components.core.errors import MissingInput, PipelineError
from components.core.phrases import count

_STARTED = "started"
_DAY = 24 * 60 * 60


def make_folder(path: Path) -> None:
    """Make a folder of the volume, for the first step of a run.

    Raises:
        PipelineError: the volume is not ours to write to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        there = next(each for each in path.parents if each.exists())
        found = there.stat()
        raise PipelineError(
            f"{there}: belongs to {found.st_uid}:{found.st_gid} with mode "
            f"{found.st_mode & 0o7777:04o}, and steps run as {os.getuid()}:{os.getgid()}; either "
            "Argo gives pods an fsGroup (`sh infra/scripts/argo_defaults.sh`), or runs share a "
            "standing volume (cluster.workspace_claim): infra/README.md, step 5."
        ) from error


def note_start(run: Path) -> None:
    """Write down that a step of the run starts now, so that `prune` leaves its folder.

    Raises:
        MissingInput: the folder is gone.
    """
    if not run.is_dir():
        raise MissingInput(
            f"{run}: the folder of this run is gone; it was deleted after cluster.workspace_days "
            "without a step. Submit a new run."
        )
    (run / _STARTED).touch()


def prune(run: Path, days: int) -> list[str]:
    """Delete folders of other runs, beside this one, that have started no step for so long.

    No step may take that long (`ClusterParams`), so none of them is at work in such a folder.

    Returns:
        What was deleted, as sentences; deleted folders of others that resist are left to the next.
    """
    oldest, deleted = time.time() - days * _DAY, []
    for folder in sorted(run.parent.iterdir()):
        note = folder / _STARTED
        if folder == run or not note.is_file() or note.stat().st_mtime > oldest:
            continue
        age = (time.time() - note.stat().st_mtime) / _DAY
        # The note goes last: what an interruption leaves is deleted by the next run.
        for entry in folder.iterdir():
            if entry != note:
                shutil.rmtree(entry, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        deleted.append(f"{folder}: deleted, idle for {count(round(age), 'day')}")
    return deleted
