"""Which project this process works for: that of the current folder, unless DVC made a copy of it.

`dvc exp run --temp` and `--queue` run the stages in a copy of the project that is deleted
afterwards. What must outlive a run, like the MLflow store, belongs to the project itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from components.core.errors import MissingInput

# Below a repository's folder: where DVC 3 keeps the copies, at most two folders deeper.
_COPIES = (".dvc", "tmp", "exps")


def project_folder() -> Path:
    """The current folder, or the folder that it is a copy of; absolute.

    Raises:
        MissingInput: it is a copy, and the folder that it was made from cannot be found.
    """
    here = Path.cwd()
    if _copied_from(here) is None:
        return here
    if (original := original_folder()) is None:
        raise MissingInput(
            f"{here}: is a temporary copy that DVC made for an experiment, and the project that it "
            "was made from is not to be found; set MLFLOW_TRACKING_URI, or use `dvc exp run` "
            "without --temp and --queue."
        )
    return original


def original_folder() -> Path | None:
    """The folder that the current one is a copy of; None if it is no copy, or that is unknown."""
    here = Path.cwd()
    found = _copied_from(here)
    if found is None:
        return None
    repository, copies = found
    # The copy of the repository begins at its .dvc; the project may lie deeper.
    inside = [folder for folder in (here, *here.parents) if copies in folder.parents]
    copy = next((folder for folder in inside if (folder / ".dvc").is_dir()), None)
    original = repository / here.relative_to(copy) if copy else repository
    known = copy and (repository / ".dvc").is_dir() and original.is_dir()
    return original if known else None


def _copied_from(here: Path) -> tuple[Path, Path] | None:
    """The repository that was copied, and the folder of its copies; None if this is no copy."""
    for folder in here.parents:
        if folder.parts[-3:] == _COPIES:
            return folder.parents[2], folder
    # .dvc/tmp may be a link to another disk. DVC names the original repository to its stages.
    given = os.environ.get("DVC_ROOT")
    if given and (copies := Path(given, *_COPIES).resolve()) in here.parents:
        return Path(given), copies
    return None
