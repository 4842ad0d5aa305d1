"""Train several architectures on the same data with the same budget, and compare them on val.

The test split stays closed: every model that is evaluated there makes it worth less. What is
finished is kept, and a training that was stopped goes on where it was.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from components import train
from components.core.artifacts import Part
from components.core.errors import InvalidParams
from components.core.evaluation import metrics, model_choice
from components.core.evaluation.intervals import wilson_interval
from components.core.phrases import listing
from components.core.training import architectures, inference
from components.core.training.architectures import Architecture
from components.evaluate.latency import time_images
from components.io import files, models, params, process
from components.io.reports.plots import comparison
from components.io.reports.plots.comparison import Point
from components.tracking import open_run
from components.train.key import expected_key
from pipeline import SETTINGS, model_data
from pipeline.chosen_model import TRAINED

if TYPE_CHECKING:
    from components.io.data.dataset import Dataset

FOLDER = Path("artifacts/compare")
COLUMNS = (
    "architecture", "accuracy", "low", "high", "macro_f1", "megabytes", "p50_ms", "p95_ms",
    "train_minutes",
)  # fmt: skip


class Row(Part):
    """One architecture: accuracy on val with its 95 % interval, and what it costs."""

    architecture: str
    accuracy: float
    low: float
    high: float
    macro_f1: float
    megabytes: float
    p50_ms: float
    p95_ms: float
    train_minutes: float


class Comparison(NamedTuple):
    """What came out.

    Attributes:
        rows: in the order of accuracy.
        advice: which to take when.
        table: the CSV.
        figure: the PNG.
        link: where the runs are in MLflow.
    """

    rows: list[Row]
    advice: list[str]
    table: Path
    figure: Path
    link: str


class _Measured(NamedTuple):
    row: Row
    model: model_choice.Model
    groups: list[str]


def compare(names: Sequence[str]) -> Comparison:
    """Train what is not trained yet, measure all, write the table and the figure.

    Args:
        names: of architectures.

    Raises:
        InvalidParams: a name is unknown, or cannot be trained with the present settings.
    """
    process.configure()
    settings = params.load(SETTINGS, train.Params)
    for name in names:
        _require_trainable(name, settings)
    key = hashlib.sha256(" ".join(names).encode()).hexdigest()
    with open_run(kind="compare", name=f"compare {listing(names, 3)}", key=key) as run:
        measured = [_measure(name, settings, run.id) for name in names]
        ranked = sorted(measured, key=lambda one: -one.row.accuracy)
        rows, groups = [one.row for one in ranked], measured[0].groups
        advice = model_choice.advise([one.model for one in ranked], groups)
        table, figure = FOLDER / "comparison.csv", FOLDER / "comparison.png"
        values = ([getattr(row, name) for name in COLUMNS] for row in rows)
        files.write_csv(table, COLUMNS, values)
        points = [
            Point(r.architecture, r.accuracy, r.low, r.high, r.megabytes, r.p50_ms) for r in rows
        ]
        comparison.comparison(points, advice[0], figure)
        run.metrics({f"val/accuracy {row.architecture}": row.accuracy for row in rows})
        for file in (table, figure):
            run.file(file, "compare")
        return Comparison(rows, advice, table, figure, run.link)


def _require_trainable(name: str, settings: train.Params) -> None:
    known = get_args(Architecture)
    if name not in known:
        raise InvalidParams(f"compare: {name} is unknown; known are {', '.join(known)}.")
    if settings.model.weights not in ("imagenet", "random"):
        raise InvalidParams(
            f"params.yaml: model.weights is {settings.model.weights}, a file of one architecture; "
            "set it to imagenet or random to compare several."
        )
    architectures.require_size(name, settings.model.image_size)
    models.find_initial_weights(settings.model.weights, name)


def _measure(name: str, settings: train.Params, parent: str) -> _Measured:
    """Train the architecture unless that is done, and measure it on val."""
    own = replace(settings, model=settings.model.model_copy(update={"architecture": name}))
    place = FOLDER / name
    paths = replace(
        train.Paths(),
        checkpoint=place / "checkpoint.bin",
        model=place / "model",
        history=place / "history.csv",
        plot=place / "history.png",
    )
    folder, history = _trained(paths, own)
    if folder is None:
        os.environ["MLFLOW_RUN_ID"] = parent  # train's run is nested in it
        print(f"compare   {name}", flush=True)
        train.run(paths, own)
        folder, history = paths.model, paths.history
    loaded = models.load(folder)
    val = model_data.open_for(loaded.card, ("val",))
    return _evaluate(name, loaded, folder, history, val)


def _trained(paths: train.Paths, settings: train.Params) -> tuple[Path | None, Path]:
    """A finished training of these settings, data and code: here, or the project's own."""
    own = train.Paths()
    for model, history in ((paths.model, paths.history), (TRAINED, own.history)):
        if (model / models.CARD).is_file() and history.is_file():
            card = models.load_card(model)
            same = card.architecture == settings.model.architecture
            if same and card.training_key == expected_key(own, settings, card):
                return model, history
    return None, paths.history


def _evaluate(
    name: str, loaded: models.LoadedModel, folder: Path, history: Path, val: Dataset
) -> _Measured:
    images, rows = val.splits["val"], val.rows["val"]
    logits = inference.predict_logits(loaded.network, images.pixels, device="cpu")
    predicted = metrics.predicted_classes(logits)
    correct = (predicted == images.labels).astype(np.int64)
    matrix = metrics.confusion(images.labels, predicted, len(val.class_names))
    interval = wilson_interval(int(correct.sum()), len(correct), 0.95)
    paths = [train.Paths().images / path for path in rows["path"]]
    latency = time_images(loaded, paths, device="cpu", machine="")
    size = sum(path.stat().st_size for path in files.files_below(folder)) / 1e6
    row = Row(
        architecture=name,
        accuracy=metrics.accuracy(matrix),
        low=interval.low,
        high=interval.high,
        macro_f1=metrics.macro_f1(metrics.class_metrics(matrix, val.class_names)),
        megabytes=size,
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        train_minutes=_train_minutes(history, loaded),
    )
    found = model_choice.Model(name, correct, size, latency.p50_ms)
    return _Measured(row, found, [str(group) for group in rows["group"]])


def _train_minutes(history: Path, loaded: models.LoadedModel) -> float:
    """Of all epochs, whoever interrupted them: images by images a second."""
    train_images = len(model_data.open_for(loaded.card, ("train",)).splits["train"].labels)
    with history.open(newline="") as file:
        rates = [float(row["images_per_second"]) for row in csv.DictReader(file)]
    return sum(train_images / rate for rate in rates) / 60
