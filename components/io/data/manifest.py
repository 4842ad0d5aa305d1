"""The manifest: written once by validate, read by every later step through the same checks."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import MANIFEST_COLUMNS, Split, ValidationReport, data_digest
from components.core.errors import ChangedInput
from components.io import files

if TYPE_CHECKING:
    import pandas as pd

_FIX = "run `dvc repro validate`"


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write the manifest as parquet, whole or not at all."""
    files.write_with(path, lambda temporary: frame.to_parquet(temporary, index=False))


def load(manifest: Path, report: Path) -> pd.DataFrame:
    """The whole manifest, if it passed and the report is about it: all rows, by path.

    Raises:
        MissingInput: one of the files is absent.
        ChangedInput: the manifest is damaged, did not pass, or is not the one of the report.
    """
    import pandas as pd

    verdict = files.read_artifact(report, ValidationReport)
    if not verdict.success:
        raise ChangedInput(f"{report}: says that the data set did not pass; mend it, then {_FIX}.")
    files.require_file(manifest)
    # Read once: what is checked is what is used.
    content = manifest.read_bytes()
    try:
        whole = pd.read_parquet(BytesIO(content))
    except (OSError, ValueError) as error:
        raise ChangedInput(f"{manifest}: is not readable as parquet ({error}); {_FIX}.") from error
    if missing := [name for name in MANIFEST_COLUMNS if name not in whole.columns]:
        raise ChangedInput(f"{manifest}: lacks the column {missing[0]}; {_FIX}.")
    if (digest := data_digest(whole)) != verdict.data_digest:
        raise ChangedInput(
            f"{manifest}: has digest {digest[:12]}, but {report} is about "
            f"{verdict.data_digest[:12]}; {_FIX}."
        )
    return whole.sort_values("path", ignore_index=True)  # a manifest may have been rewritten


def rows_of(whole: pd.DataFrame, splits: Sequence[Split]) -> pd.DataFrame:
    """The used rows of `splits`, by path."""
    wanted = (whole["status"] == "used") & whole["split"].isin(splits)
    return whole[wanted].reset_index(drop=True)


def read(manifest: Path, report: Path, splits: Sequence[Split]) -> pd.DataFrame:
    """The used rows of `splits`, by path. Raises as `load` does."""
    return rows_of(load(manifest, report), splits)
