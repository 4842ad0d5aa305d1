"""The manifest: written once by validate, read by every later step through the same checks."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import MANIFEST_COLUMNS, Split, ValidationReport, data_digest
from components.core.errors import ChangedInput
from components.core.phrases import short_digest
from components.io import files

if TYPE_CHECKING:
    import pandas as pd

_FIX = "run `dvc repro validate`"


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write the manifest as parquet, whole or not at all."""
    # A row group is in memory twice while it is written.
    files.write_with(
        path, lambda temporary: frame.to_parquet(temporary, index=False, row_group_size=1 << 12)
    )


def load(manifest: Path, report: Path) -> pd.DataFrame:
    """The whole manifest, if validation passed and the report is about it: all rows, by path.

    Args:
        manifest: the parquet file.
        report: the validation report.

    Raises:
        MissingInput: one of the files is absent.
        ChangedInput: the manifest is damaged, the data did not pass, or the report is about
            another manifest.
    """
    import pandas as pd

    validation = files.read_artifact(report, ValidationReport)
    if not validation.success:
        raise ChangedInput(f"{report}: the data did not pass validation; fix them, then {_FIX}.")
    files.require_file(manifest)
    # Read once: what is checked is what is used.
    content = manifest.read_bytes()
    try:
        whole = pd.read_parquet(BytesIO(content))
    except (OSError, ValueError) as error:
        raise ChangedInput(f"{manifest}: cannot be read as parquet ({error}); {_FIX}.") from error
    if missing := [name for name in MANIFEST_COLUMNS if name not in whole.columns]:
        raise ChangedInput(f"{manifest}: has no column {missing[0]}; {_FIX}.")
    if (digest := data_digest(whole)) != validation.data_digest:
        raise ChangedInput(
            f"{manifest}: has data digest {short_digest(digest)}, but {report} is about "
            f"{short_digest(validation.data_digest)}; {_FIX}."
        )
    return whole.sort_values("path", ignore_index=True)  # a manifest may have been rewritten


def rows_of(whole: pd.DataFrame, splits: Sequence[Split]) -> pd.DataFrame:
    """The used rows of `splits`, by path."""
    chosen = (whole["status"] == "used") & whole["split"].isin(splits)
    return whole[chosen].reset_index(drop=True)


def read(manifest: Path, report: Path, splits: Sequence[Split]) -> pd.DataFrame:
    """The used rows of `splits`, by path. Raises as `load` does."""
    return rows_of(load(manifest, report), splits)
