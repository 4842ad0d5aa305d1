"""The sample data set: photographs of solar cells, written as class folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from components.core.errors import InvalidData, MissingInput, PipelineError

CREDIT = (
    "ELPV: Buerhop-Lutz et al., A Benchmark for Visual Identification of Defective Solar Cells in "
    "Electroluminescence Imagery, EU PVSEC 2018. CC BY-NC-SA 4.0: not for commercial use."
)

# The defect probability, as people rated it; cells they were unsure of are left out.
_CLASSES = {"0.0": "functional", "1.0": "defective"}


def materialize(images: Path) -> int:
    """Write the sample images, bytes unchanged, to `images`/functional and /defective.

    Running it again repairs what is missing or changed; it never touches a folder that holds
    anything else.

    Args:
        images: the image folder; created if it does not exist.

    Returns:
        The number of images, 2,223.

    Raises:
        MissingInput: the package that carries the images is not installed.
        InvalidData: the folder holds other files.
        PipelineError: the folder cannot be written.
    """
    package = _find_package()
    sources = {images / label / path.name: path for path, label in _read_labels(package)}
    present = {path for path in images.rglob("*") if not path.is_dir() or path.is_symlink()}
    if others := sorted(present - sources.keys()):
        raise InvalidData(
            f"{images}: holds files that do not belong to the sample, such as {others[0].name!r}; "
            "move them away, or keep them and run `dvc repro`."
        )
    try:
        _copy({t: p for t, p in sources.items() if not _equal(t, p)}, aside=images.parent)
    except OSError as error:
        raise PipelineError(
            f"{images}: could not be written ({error.strerror}); free some space or fix the "
            "permissions, then run `python -m pipeline sample-data` again."
        ) from error
    print(f"{images}: {len(sources):,} images in {len(_CLASSES)} classes")
    print(CREDIT)
    return len(sources)


def _equal(target: Path, source: Path) -> bool:
    return target.exists() and target.read_bytes() == source.read_bytes()


def _copy(sources: Mapping[Path, Path], aside: Path) -> None:
    """Copy each source to its target, whole or not at all, by way of a file in folder `aside`."""
    temporary = aside / f".sample.{os.getpid()}.part"
    try:
        for target, source in sources.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            # Not synced one by one, which takes long: running again compares every byte.
            shutil.copyfile(source, temporary)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _find_package() -> Path:
    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise MissingInput(
            "sample data: the package elpv-dataset is not installed; run `make install`."
        )
    return Path(spec.origin).parent / "data"


def _read_labels(package: Path) -> list[tuple[Path, str]]:
    """Image and class of each line `images/cell0001.png  1.0  mono` with a certain label."""
    rows = [line.split() for line in (package / "labels.csv").read_text().splitlines()]
    return [(package / name, _CLASSES[p]) for name, p, _ in rows if p in _CLASSES]
