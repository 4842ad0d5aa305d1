"""One training, whole processes: this project, a plain script, timm, and the limit in memory.

All learn from the same images for as many steps, and score the same val split after each epoch.
Ours is `python -m pipeline step train` in a project of its own: it hashes and decodes the images,
keeps its pixels and a checkpoint, logs to MLflow, calibrates, and writes model and figures.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from bench import processes
from bench.processes import ROOT, Finished

SIDES = Path(__file__).parent / "sides"
PEER_PYTHON = ROOT / ".peers/bin/python"

_WARM_UP = 4  # steps

# What makes the work of the project's side equal to that of the others.
_SETTINGS: Mapping[str, object] = {
    "model.architecture": "resnet18",
    "model.weights": "random",
    "validate.near_duplicates": None,
    "validate.min_images": 2,
    "validate.min_images_per_class": 1,
    "training.augmentation": "light",
    "training.horizontal_flip": True,
    "training.rotate_90": False,
    "training.ema_decay": 0.0,
    "train.learning_rate": 1e-3,
    "train.early_stopping": 50,
}


@dataclass(frozen=True)
class Work:
    """What each side does.

    Attributes:
        train: images of the train split; a multiple of `batch`.
        val: images of the val split.
        size: side of the network's input, pixels.
        batch: images of a step.
        epochs: how often the train split is seen.
    """

    train: int = 640
    val: int = 128
    size: int = 224
    batch: int = 32
    epochs: int = 2


def precision() -> str:
    """bf16 where this CPU computes it, else fp32."""
    from components.core.training.inference import resolve_precision

    return resolve_precision("auto", "cpu", "resnet18")


def prepare(sample: Path, folder: Path, work: Work) -> None:
    """Make the folder in which `commands` can be run: images, split, and a validated project.

    Args:
        sample: class folders.
        folder: to make; whatever is there is deleted.
        work: how many images.
    """
    from components import validate
    from components.io import params
    from components.tracking.store import open_store

    shutil.rmtree(folder, ignore_errors=True)
    project = folder / "project"
    _link_splits(sample, project / "data/images", work)
    for name in ("dvc.yaml", "data/groups.csv", "data/splits.csv"):
        shutil.copy(ROOT / name, project / name)
    changes = {
        "model.image_size": work.size,
        "training.batch_size": work.batch,
        "train.epochs": work.epochs,
    }
    write_params(project / "params.yaml", {**_SETTINGS, **changes})
    with chdir(project):
        validate.run(validate.Paths(), params.load(Path("params.yaml"), validate.Params))
        with open_store():  # MLflow's database is made once, not in each training
            pass
    write_hyperparameters(project, epochs=work.epochs)


def write_hyperparameters(project: Path, *, epochs: int) -> None:
    """What tune would write: the training needs it, though its rate and length are given."""
    from components.core.artifacts import Hyperparameters, ValidationReport
    from components.io import files

    report = files.read_artifact(project / "artifacts/validate/report.json", ValidationReport)
    tuned = Hyperparameters(
        learning_rate=1e-3,
        epochs=epochs,
        horizontal_flip=True,
        val_loss=1.0,
        val_accuracy=0.5,
        image_size=32,
        num_train_images=1,
        study="none",
        trials_complete=1,
        trials_pruned=0,
        trials_failed=0,
        data_digest=report.data_digest,
    )
    files.write_artifact(project / "artifacts/tune/hyperparameters.json", tuned)


def write_params(path: Path, changes: Mapping[str, object]) -> None:
    """The committed params.yaml with other values at dotted keys."""
    yaml = YAML(typ="safe", pure=True)
    settings = yaml.load((ROOT / "params.yaml").read_text())
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = settings
        for section in sections:
            place = place[section]
        place[key] = value
    yaml.dump(settings, path)


def _link_splits(sample: Path, images: Path, work: Work) -> None:
    """Class folders below train, val and test, by chance but always the same."""
    paths = sorted(path for path in sample.glob("*/*") if path.is_file())
    test = 8
    needed = work.train + work.val + test
    if len(paths) < needed:
        raise SystemExit(f"{sample}: holds {len(paths)} images; {needed} are needed.")
    order = np.random.default_rng(0).permutation(len(paths))[:needed]
    parts = np.split(order, [work.train, work.train + work.val])
    for split, rows in zip(("train", "val", "test"), parts, strict=True):
        for path in (paths[row] for row in rows):
            target = images / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def sides(peers: bool) -> list[str]:
    """The names of what is measured, in turn."""
    return ["plain", *(["timm"] if peers else []), "ours", "limit"]


def measure(side: str, folder: Path, work: Work, timm_train: Path | None) -> dict[str, Any]:
    """Run a side once in a fresh copy of what `prepare` made.

    Args:
        side: one of `sides`.
        folder: that `prepare` made.
        work: as given to it.
        timm_train: timm's train.py; None = its parts in a loop of ours.

    Returns:
        Figures: see `figures`.
    """
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder / "project", scratch)
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{scratch.absolute()}/mlflow.db"}
    command = [str(word) for word in _command(side, scratch, work, timm_train)]
    try:
        finished = processes.run(command, folder=scratch, environment=environment)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return figures(finished, work)


def _command(
    side: str, scratch: Path, work: Work, timm_train: Path | None
) -> Iterator[str | int | Path]:
    images: Path = scratch.absolute() / "data/images"
    numbers = work.size, work.batch
    if side == "ours":
        yield from (sys.executable, "-m", "pipeline", "step", "train")
    elif side == "plain":
        yield from (sys.executable, SIDES / "plain.py", images, *numbers, work.epochs)
    elif side == "limit":
        steps = work.epochs * work.train // work.batch
        yield from (sys.executable, SIDES / "limit.py", *numbers, steps, "cpu", precision())
    elif timm_train is None:
        script = SIDES / "timm_parts.py"
        yield from (PEER_PYTHON, script, images, *numbers, work.epochs, precision())
    else:
        yield from [PEER_PYTHON, timm_train.absolute(), images]
        yield from _timm_options(work)


def _timm_options(work: Work) -> list[str]:
    fast = "--amp --amp-dtype bfloat16 --channels-last" if precision() == "bf16" else ""
    return (
        "--train-split train --val-split val --model resnet18 --num-classes 2 --device cpu -j 2 "
        f"--input-size 3 {work.size} {work.size} -b {work.batch} --epochs {work.epochs} "
        "--opt adamw --lr 1e-3 --weight-decay 0.05 --sched cosine --warmup-epochs 0 "
        f"--cooldown-epochs 0 --scale 0.7 1.0 --color-jitter 0.1 --output . {fast}"
    ).split()


def figures(finished: Finished, work: Work) -> dict[str, Any]:
    """What a side's run comes to.

    Returns:
        seconds of the process, first_batch and after_last_step in seconds, peak_mib, and rate:
        training images per second between the steps of an epoch, after a warm-up.
    """
    per_epoch = work.train // work.batch
    steps = finished.steps
    if finished.first_batch is None or len(steps) != per_epoch * work.epochs:
        raise SystemExit(f"{len(steps)} steps were seen; {per_epoch * work.epochs} are right.")
    gaps: list[float] = []
    for start in range(0, len(steps), per_epoch):
        gaps += np.diff(steps[start : start + per_epoch]).tolist()
    return {
        "seconds": finished.seconds,
        "first_batch": finished.first_batch,
        "after_last_step": finished.seconds - steps[-1],
        "rate": work.batch / float(np.mean(gaps[_WARM_UP:])),
        "peak_mib": finished.peak_mib,
    }
