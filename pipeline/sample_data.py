"""The sample data set: photographs of solar cells, written as class folders."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from components.core.errors import InvalidData, MissingInput, PipelineError
from components.io.data import scan
from components.tracking import lineage
from pipeline.dvc_command import run_dvc

CREDIT = (
    "ELPV: Buerhop-Lutz et al., A Benchmark for Visual Identification of Defective Solar Cells in "
    "Electroluminescence Imagery, EU PVSEC 2018. CC BY-NC-SA 4.0: not for commercial use."
)

# The defect probability, as people rated it; cells they were unsure of are left out.
_CLASSES = {"0.0": "functional", "1.0": "defective"}
_NUM_IMAGES = 2_223
CLASS_NAMES = frozenset(_CLASSES.values())

# Of the folder, in the data/images.dvc that is committed.
DVC_HASH = "49cb12c01b39b2b2230b6c1fdcf59ac7.dir"

_POINTER = Path("data/images.dvc")

NAME = "register.model_name"

# What the committed params.yaml says because of the sample, and `init` says anew for other data.
SETTINGS: Mapping[str, object] = {
    NAME: "solar-cells",
    "data.resize_mode": "crop",
    "model.weights": "random",
    "model.image_size": 64,
    "validate.min_images": 100,
    "validate.min_images_per_class": 20,
    "validate.min_side": 8,
    "training.augmentation": "light",
    "training.horizontal_flip": True,
    "training.rotate_90": True,
    "training.class_weights": "sqrt",
    "tune.num_trials": 6,
    "tune.timeout_seconds": 45,
    "tune.epochs": [5, 8],
    "tune.image_size": 48,
    "tune.train_fraction": 0.3,
    "register.gate.min_accuracy": 0.65,
    "register.gate.min_macro_f1": 0.62,
    "register.gate.min_class_recall": 0.5,
    "register.gate.min_test_images": 200,
    "register.gate.min_test_images_per_class": 50,
    "register.gate.max_accuracy": 0.999,
    "register.gate.non_inferiority_margin": 0.05,
}
# Those of them that are right for hardly any other data.
TELLTALE = (
    NAME,
    "training.augmentation",
    "training.rotate_90",
    "tune.epochs",
    "register.gate.min_accuracy",
    "register.gate.min_macro_f1",
)


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


def record() -> None:
    """Put the images into DVC's cache too, from which `dvc push` takes them.

    Only where data/images.dvc names them already: nothing else is recorded.

    Raises:
        PipelineError: DVC refuses, with its words.
    """
    if lineage.dvc_hash(_POINTER) == DVC_HASH:
        run_dvc("commit", "--force", str(_POINTER))


def is_sample(images: Path) -> bool:
    """Whether the folder holds the sample, every byte of it, and nothing else but junk."""
    names = sorted(scan.list_files(images), key=lambda name: name.split("/"))
    if len(names) != _NUM_IMAGES:
        return False
    # DVC's digest of a folder: the MD5 of this list as JSON.
    listing = [
        {"md5": hashlib.md5((images / name).read_bytes()).hexdigest(), "relpath": name}  # noqa: S324
        for name in names
    ]
    digest = hashlib.md5(json.dumps(listing).encode()).hexdigest()  # noqa: S324
    return f"{digest}.dir" == DVC_HASH


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
