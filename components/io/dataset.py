"""From the manifest to labelled pictures, with everything a step must know about the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.artifacts import Split, ValidationReport
from components.core.errors import ChangedInput
from components.core.training import Labelled
from components.io import cache as pixel_cache
from components.io import files, manifest

if TYPE_CHECKING:
    import pandas as pd

    from components.core.images import DataParams


@dataclass(frozen=True)
class Location:
    """Where the data and its description lie."""

    images: Path
    manifest: Path
    report: Path
    cache: Path


@dataclass(frozen=True)
class Dataset:
    """Some splits of the data set. Class indices follow `class_names`."""

    splits: dict[Split, Labelled]
    rows: dict[Split, pd.DataFrame]
    class_names: list[str]
    digest: str


def open_dataset(
    location: Location, data: DataParams, image_size: int, splits: tuple[Split, ...]
) -> Dataset:
    """Open `splits`; the rows of other splits are never even read.

    Raises:
        ChangedInput: the manifest is not the one that the report describes, or an image's bytes
            are not the manifest's.
    """
    report = files.read_artifact(location.report, ValidationReport)
    rows = manifest.read(location.manifest, location.report, splits)
    index = {name: k for k, name in enumerate(report.class_names)}
    # The data digest covers the manifest's labels, not the report's list of them.
    if report.class_names != sorted(index) or not index.keys() >= set(rows["label"]):
        raise ChangedInput(
            f"{location.report}: its class names are not those of {location.manifest}; run "
            "`dvc repro validate`."
        )
    labelled, parts = {}, {}
    for split in splits:
        part = rows[rows["split"] == split].reset_index(drop=True)
        pixels = pixel_cache.open_pixels(part, location.images, location.cache, data, image_size)
        labelled[split] = Labelled(pixels, np.array(part["label"].map(index), dtype=np.int64))
        parts[split] = part
    return Dataset(labelled, parts, report.class_names, report.data_digest)


def require_same_data(path: Path, found: str, wanted: str, step: str) -> None:
    """Raise `ChangedInput` when an artifact was made from other data than the manifest's."""
    if found != wanted:
        raise ChangedInput(
            f"{path}: was made from data {found[:12]}, but the manifest is {wanted[:12]}; "
            f"run `dvc repro {step}`."
        )
