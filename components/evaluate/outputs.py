"""What evaluate shows: tables for `dvc plots`, plots, and lines to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.artifacts import ClassMetrics, Latency, Metrics
from components.core.evaluation import metrics
from components.core.evaluation.heat_map import feature_layer, grad_cam, overlay
from components.core.evaluation.metrics import Ints
from components.core.evaluation.predictions import Predictions
from components.io import files
from components.io.data.dataset import Dataset
from components.io.models import LoadedModel
from components.io.reports.pages import to_jpeg
from components.io.reports.plots import predictions as plots
from components.io.reports.plots.canvas import shorten

_ROC_POINTS = 200


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The predictions for the N test images, and how good they are.

    Attributes:
        uncalibrated: probabilities (N, K) before temperature scaling.
        confusion: (K, K), row = true class.
    """

    predictions: Predictions
    uncalibrated: NDArray[np.float64]
    metrics: Metrics
    per_class: list[ClassMetrics]
    confusion: NDArray[np.int64]


def write_tables(folder: Path, result: EvaluationResult, bins: int) -> None:
    """The data of the plots: confusion, per_class, reliability, and roc for two classes."""
    predictions, names = result.predictions, result.predictions.class_names
    pairs = zip(predictions.labels.tolist(), predictions.predicted.tolist(), strict=True)
    rows = ((names[true], names[predicted]) for true, predicted in pairs)
    files.write_csv(folder / "confusion.csv", ("actual", "predicted"), rows)
    files.write_csv(
        folder / "per_class.csv",
        ("class", "precision", "recall", "f1", "support"),
        (
            (c.name, c.precision, c.recall, c.f1, c.support)
            for c in metrics.weakest_first(result.per_class)
        ),
    )
    table = metrics.reliability(predictions.probabilities, predictions.labels, bins)
    files.write_csv(folder / "reliability.csv", metrics.Bin._fields, table)
    if len(names) == 2:
        scores = predictions.probabilities[:, 1]
        points = metrics.roc_curve(scores, predictions.labels == 1, _ROC_POINTS)
        files.write_csv(folder / "roc.csv", metrics.RocPoint._fields, points)


ERROR_COLUMNS = (
    "path", "true", "predicted", "probability", "second", "second_probability", "loss",
)  # fmt: skip


def write_errors(folder: Path, result: EvaluationResult) -> Ints:
    """Write errors.csv, every misclassified image, the largest loss first; return their rows."""
    found = result.predictions
    names = found.class_names
    losses = metrics.per_image_log_loss(found.probabilities, found.labels)
    wrong = np.flatnonzero(~found.correct)
    wrong = wrong[np.argsort(-losses[wrong], kind="stable")]
    ranked = np.argsort(-found.probabilities, axis=1, kind="stable")
    rows = []
    for row in wrong.tolist():
        second = next(k for k in ranked[row].tolist() if k != found.predicted[row])
        of_both = (found.probabilities[row, k] for k in (found.predicted[row], second))
        first_share, second_share = (f"{share:.6f}" for share in of_both)
        true, predicted = names[found.labels[row]], names[found.predicted[row]]
        classes = (found.paths[row], true, predicted, first_share, names[second], second_share)
        rows.append([*classes, f"{losses[row]:.6f}"])
    files.write_csv(folder / "errors.csv", ERROR_COLUMNS, rows)
    return wrong


def write_heat_maps(
    folder: Path, loaded: LoadedModel, test: Dataset, rows: Ints, predicted: Ints, device: str
) -> None:
    """heat_maps/0000.jpg and so on: where the evidence for the predicted class lies.

    Args:
        folder: the one of errors.csv.
        loaded: the model, on `device`.
        test: with the test images.
        rows: of the test split, in the order of errors.csv.
        predicted: classes of all test images.
        device: cpu or cuda.
    """
    (folder / "heat_maps").mkdir()
    layer = feature_layer(loaded.card.architecture)
    pixels = test.splits["test"].pixels[rows]
    maps = grad_cam(loaded.network, layer, pixels, predicted[rows], device=device)
    for index, (image, heat) in enumerate(zip(pixels, maps, strict=True)):
        jpeg = to_jpeg(overlay(image, heat))
        files.write_bytes(folder / f"heat_maps/{index:04}.jpg", jpeg)


def draw_plots(
    folder: Path, result: EvaluationResult, test: Dataset, *, bins: int, top_losses: int
) -> None:
    """Confusion matrix, recall per class, reliability diagram, a sheet of the largest losses."""
    predictions = result.predictions
    plots.confusion(result.confusion, predictions.class_names, folder / "confusion.png")
    plots.per_class(result.per_class, folder / "per_class.png")
    after, before = (
        metrics.reliability(probabilities, predictions.labels, bins)
        for probabilities in (predictions.probabilities, result.uncalibrated)
    )
    plots.reliability(after, before, folder / "reliability.png")
    if top_losses:
        samples = _top_losses(predictions, test, top_losses)
        plots.top_losses(samples, len(predictions.paths), folder / "top_losses.png")


def _top_losses(predictions: Predictions, test: Dataset, limit: int) -> list[plots.Sample]:
    """The images with the largest loss, worst first."""
    losses = metrics.per_image_log_loss(predictions.probabilities, predictions.labels)
    worst = np.argsort(-losses, kind="stable")[:limit]
    names = predictions.class_names
    return [
        plots.Sample(
            pixels,
            predictions.paths[row],
            names[predictions.labels[row]],
            names[predictions.predicted[row]],
            float(predictions.probabilities[row].max()),
        )
        for row, pixels in zip(worst.tolist(), test.splits["test"].pixels[worst], strict=True)
    ]


def headline(found: Metrics) -> str:
    """The accuracy with its interval, and what guessing would score."""
    return (
        f"test accuracy {found.accuracy:.3f} (95 % {found.accuracy_low:.3f}-"
        f"{found.accuracy_high:.3f}, n={found.num_images:,}), majority-class baseline "
        f"{found.majority_class_accuracy:.3f}"
    )


def lines(result: EvaluationResult, latency: Latency, folder: Path) -> Iterator[str]:
    """What a person wants to know, most important first."""
    found, confusion = result.metrics, result.confusion
    names = [shorten(name, 60) for name in result.predictions.class_names]
    weakest = metrics.weakest_first(result.per_class)[0]
    area = "" if found.roc_auc is None else f", ROC AUC {found.roc_auc:.3f}"
    yield headline(found)
    yield f"balanced accuracy {found.balanced_accuracy:.3f}, macro F1 {found.macro_f1:.3f}{area}"
    yield (
        f"weakest class '{shorten(weakest.name, 60)}': recall {weakest.recall:.3f} "
        f"({round(weakest.recall * weakest.support):,} of {weakest.support:,})"
    )
    for true, predicted, images in metrics.most_confused(confusion, 1):
        yield (
            f"most confused: {images:,} of {confusion[true].sum():,} '{names[true]}' predicted as "
            f"'{names[predicted]}'"
        )
    yield (
        f"expected calibration error (ECE) {found.ece:.3f}, before temperature scaling "
        f"{found.ece_uncalibrated:.3f}"
    )
    yield f"one image takes {latency.p50_ms:.0f} ms, 95 % at most {latency.p95_ms:.0f} ms"
    yield f"plots and tables: {folder}"
