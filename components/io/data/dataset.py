"""From the manifest to labeled images, with everything a step must know about the data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from components.core.artifacts import Split, ValidationReport
from components.core.errors import ChangedInput
from components.core.phrases import short_digest
from components.core.training.loop import LabeledImages
from components.io import files
from components.io.data import manifest, pixel_cache, scan
from components.io.data.cpus import usable_cpus

if TYPE_CHECKING:
    import pandas as pd

    from components.core.data.decoding import DataParams


# Files of one task of the thread pool, so that starting a task costs little beside reading them.
_CHUNK = 32


@dataclass(frozen=True, kw_only=True)
class DataPaths:
    """Where the data and its description lie: what every step behind validate reads."""

    images: Annotated[Path, "folder of the images"] = Path("data/images")
    manifest: Annotated[Path, "rows of all files"] = Path("artifacts/validate/manifest.parquet")
    report: Annotated[Path, "validation report that belongs to the manifest"] = Path(
        "artifacts/validate/report.json"
    )
    cache: Annotated[Path, "folder of decoded pixels; safe to delete"] = Path("cache")


@dataclass(frozen=True)
class Dataset:
    """Some splits of the data set. Class indices follow `class_names`."""

    splits: dict[Split, LabeledImages]
    rows: dict[Split, pd.DataFrame]
    class_names: list[str]
    digest: str


def open_dataset(
    paths: DataPaths, data: DataParams, image_size: int, splits: tuple[Split, ...]
) -> Dataset:
    """Open `splits`; of the files of other splits only the names are looked at.

    Every file of `splits` is read and hashed, also where its decoded pixels are in the cache.

    Raises:
        ChangedInput: the report is about another manifest, an image's bytes are not those of the
            manifest, or files were added since, or used ones removed.
    """
    report = files.read_artifact(paths.report, ValidationReport)
    whole = manifest.load(paths.manifest, paths.report)
    _require_same_files(paths.images, whole)
    rows = manifest.rows_of(whole, splits)
    _require_same_bytes(paths.images, rows)
    index = {name: k for k, name in enumerate(report.class_names)}
    # The data digest covers the manifest's labels, not the report's list of them.
    if report.class_names != sorted(index) or not index.keys() >= set(rows["label"]):
        raise ChangedInput(
            f"{paths.report}: its class names are not those of {paths.manifest}; run "
            "`dvc repro validate`."
        )
    labeled, rows_of_split = {}, {}
    for split in splits:
        part = rows[rows["split"] == split].reset_index(drop=True)
        pixels = pixel_cache.open_pixels(part, paths.images, paths.cache, data, image_size)
        labeled[split] = LabeledImages(pixels, np.array(part["label"].map(index), dtype=np.int64))
        rows_of_split[split] = part
    return Dataset(labeled, rows_of_split, report.class_names, report.data_digest)


def _require_same_files(images: Path, whole: pd.DataFrame) -> None:
    """Raise unless all used files are there, and none that validate has not seen, junk aside.

    A file that is not used may go, e.g. a dropped duplicate. Whether a new one would be used, only
    validate can tell.
    """
    used = set(whole.loc[whole["status"] == "used", "path"])
    found = scan.list_files(images)
    if gone := sorted(used - found):
        raise ChangedInput(
            f"{images / gone[0]}: is gone, but validate found it; restore it (`dvc checkout`) or "
            "run `dvc repro` to validate the folder as it is now."
        )
    known = set(whole["path"])
    if new := sorted(found - known):
        raise ChangedInput(
            f"{images / new[0]}: was added after validate; run `dvc repro` to validate the folder "
            "as it is now, or remove the file (`dvc checkout`)."
        )


def _require_same_bytes(images: Path, rows: pd.DataFrame) -> None:
    named = list(zip(rows["path"], rows["sha256"], strict=True))

    def check(first: int) -> None:
        for path, sha256 in named[first : first + _CHUNK]:
            pixel_cache.read_unchanged(images / path, sha256)

    with ThreadPoolExecutor(usable_cpus()) as pool:
        list(pool.map(check, range(0, len(named), _CHUNK)))


def require_same_data(path: Path, found: str, expected: str, step: str) -> None:
    """Raise `ChangedInput` when an artifact was made from other data than the manifest's.

    Args:
        path: of the artifact.
        found: data digest in the artifact.
        expected: data digest of the manifest.
        step: that writes the artifact.
    """
    if found != expected:
        raise ChangedInput(
            f"{path}: was made from data {short_digest(found)}, but the manifest is about "
            f"{short_digest(expected)}; run `dvc repro {step}`."
        )
