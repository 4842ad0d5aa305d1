"""What the steps will have to do: read from the settings, the image folder and the last run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from components import register, train, tune, validate
from components.core.data.decoding import DataParams
from components.core.errors import InvalidData, MissingInput, PipelineError
from components.core.training.architectures import ModelParams
from components.core.training.config import TrainingParams
from components.core.training.presets import choose_preset
from components.io import params
from components.io.data import manifest, scan
from components.tune.search_space import search_space
from components.validate.rules import ValidateParams
from pipeline import SETTINGS, foresight
from pipeline.forecast.costs import Work, log_mean
from pipeline.forecast.probe import Task
from pipeline.image_folder import ImageFolder, look

_SAMPLE = 256  # files that the speeds may be measured on


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The sections of params.yaml that a cost depends on."""

    data: DataParams
    model: ModelParams
    validate: ValidateParams
    training: TrainingParams
    tune: tune.TuneParams
    train: train.TrainParams
    register: register.RegisterParams


@dataclass(frozen=True)
class Counts:
    """Images of each split: of train by class, in the order of the classes."""

    train: tuple[int, ...]
    val: int
    test: int


def read(paths: validate.Paths) -> tuple[Settings, Work, Task]:
    """Settings, what there is to do, and what must be measured to know how long it takes.

    Args:
        paths: where the images are, and what the last validation wrote.

    Raises:
        PipelineError: there is no image, or params.yaml is wrong.
    """
    settings = params.load(SETTINGS, Settings)
    if not paths.images.is_dir():
        raise MissingInput(f"{paths.images}: does not exist")
    folder = look(paths.images)
    counts, known = _counts(paths, folder, settings)
    if not (all(counts.train) and len(counts.train) > 1 and counts.val):
        raise InvalidData(f"{paths.images}: too few images for train and val")
    work = _work(folder, counts, known, settings)
    names = random.Random(0).sample(folder.files, min(_SAMPLE, len(folder.files)))  # noqa: S311
    task = Task(
        images=paths.images,
        files=tuple(names),
        data=settings.data,
        model=settings.model,
        training=settings.training,
        trial_size=settings.tune.image_size,
        train=counts.train,
        trial=work.trial,
        val=work.val,
        test=work.test,
    )
    return settings, work, task


def _counts(paths: validate.Paths, folder: ImageFolder, settings: Settings) -> tuple[Counts, int]:
    """Images of each split, and how many files the last validation has decoded.

    The splits are those of the last validation if it saw these files, else the expected ones.
    """
    expected = _expected(folder, settings.validate)
    try:
        whole = manifest.load(paths.manifest, paths.report)
    except PipelineError:
        return expected, 0
    seen = set(whole["path"][whole["reason"] != scan.IGNORED])
    kept = any(paths.cache.glob("known-*.bin"))
    known = len(seen & set(folder.files)) if kept else 0
    rows = {split: manifest.rows_of(whole, [split]) for split in ("train", "val", "test")}
    if seen != scan.list_files(paths.images) or not len(rows["train"]):
        return expected, known
    by_class = rows["train"]["label"].value_counts()
    train_counts = tuple(int(by_class.get(name, 0)) for name in folder.class_names)
    return Counts(train_counts, len(rows["val"]), len(rows["test"])), known


def _expected(folder: ImageFolder, settings: ValidateParams) -> Counts:
    """If no file is dropped and no two belong together."""
    test = sum(foresight.expected_counts(folder, settings).values())
    if folder.by_split:
        of_train: Mapping[str, int] = folder.by_split.get("train", {})
        val = sum(folder.by_split.get("val", {}).values())
        return Counts(tuple(of_train.get(name, 0) for name in folder.class_names), val, test)
    share = settings.split["train"]
    of_train = {name: round(share * count) for name, count in folder.counts.items()}
    train_counts = tuple(of_train[name] for name in folder.class_names)
    return Counts(train_counts, max(0, len(folder.files) - sum(train_counts) - test), test)


def _work(folder: ImageFolder, counts: Counts, known: int, settings: Settings) -> Work:
    tuning, size = settings.tune, settings.model.image_size
    preset = choose_preset(settings.training.preset, sum(counts.train), settings.model.weights)
    space = search_space(
        preset,
        learning_rate=tuning.learning_rate,
        epochs=tuning.epochs,
        horizontal_flip=settings.training.augmentation != "none"
        and settings.training.horizontal_flip,
        seed=settings.training.seed,
    )
    fraction = tuning.train_fraction
    trial = sum(max(round(fraction * n), min(2, n)) for n in counts.train)
    decoded = 3 * size**2 * sum(counts.train)
    return Work(
        new=len(folder.files) - known,
        known=known,
        train=sum(counts.train),
        val=counts.val,
        test=counts.test,
        trial=trial,
        first_trials=tuple(int(each["epochs"]) for each in space.first_trials),
        trial_epochs=space.epochs,
        num_trials=int(min(tuning.num_trials, space.num_settings)),
        timeout_seconds=tuning.timeout_seconds,
        epochs=epochs_of(settings.train, space.epochs),
        image_size=size,
        streamed=decoded > settings.data.cache_gib * 2**30,
        champion=register.Paths().decision.exists(),
    )


def epochs_of(settings: train.TrainParams, searched: tuple[int, int]) -> tuple[int, int, int]:
    """Fewest, likely and most epochs of train; early stopping counts from the middle on.

    Args:
        settings: section `train`.
        searched: the range of tune.
    """
    low, high = searched if settings.epochs == "tuned" else (settings.epochs, settings.epochs)
    likely = round(log_mean(low, high))
    return min(low, low // 2 + settings.early_stopping), likely, high
