"""Commands of the data: sample-data, pin-splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import IMAGES

_PANEL = "data"


def add(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (("sample-data", sample_data), ("pin-splits", pin_splits)):
        app.command(name, rich_help_panel=_PANEL, epilog=_EXAMPLES[name])(command)


_EXAMPLES = {
    "sample-data": "Example: python -m pipeline sample-data",
    "pin-splits": "Example: python -m pipeline pin-splits && git diff data/splits.csv",
}


def sample_data(
    images: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write to.")] = IMAGES,
) -> None:
    """Write the sample data set: 2,223 images of solar cells in two class folders.

    Running it again repairs files that are missing or changed. A folder that holds anything else is
    left alone.
    """
    from pipeline import sample_data as sample

    sample.materialize(images)


def pin_splits(
    manifest: Annotated[
        Path, typer.Option(metavar="FILE", help="Manifest of the last validation.")
    ] = Path("artifacts/validate/manifest.parquet"),
    report: Annotated[
        Path, typer.Option(metavar="FILE", help="Report of the same validation.")
    ] = Path("artifacts/validate/report.json"),
    pinned_splits: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV file to extend; commit it to git.")
    ] = Path("data/splits.csv"),
) -> None:
    """Pin the split of every image of the last validation, so that new data move none of them."""
    from components.io.data import split_files

    print(split_files.pin_splits(manifest, report, pinned_splits))
