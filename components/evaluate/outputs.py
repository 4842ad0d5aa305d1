"""What evaluate shows of the answers: tables for `dvc plots`, pictures, and lines to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.artifacts import ClassMetrics, Latency, Metrics
from components.core.evaluation import metrics as measures
from components.core.evaluation.predictions import Predictions
from components.io import files
from components.io.data.dataset import Dataset
from components.io.reports.plots import predictions as pictures
from components.io.reports.plots.canvas import shorten

_ROC_POINTS = 200


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The answers to the N test images, and how good they are.

    Attributes:
        plain: probabilities (N, K) before temperature scaling.
        confusion: (K, K), row = true class.
    """

    answers: Predictions
    plain: NDArray[np.float64]
    metrics: Metrics
    per_class: list[ClassMetrics]
    confusion: NDArray[np.int64]


def write_tables(folder: Path, found: EvaluationResult, bins: int) -> None:
    """The data of the plots: confusion, per_class, reliability, and roc for two classes."""
    answers, names = found.answers, found.answers.class_names
    pairs = zip(answers.labels.tolist(), answers.predicted.tolist(), strict=True)
    _write_csv(
        folder / "confusion.csv", ("actual", "predicted"), ((names[t], names[p]) for t, p in pairs)
    )
    _write_csv(
        folder / "per_class.csv",
        ("class", "precision", "recall", "f1", "support"),
        (
            (c.name, c.precision, c.recall, c.f1, c.support)
            for c in measures.weakest_first(found.per_class)
        ),
    )
    _write_csv(
        folder / "reliability.csv",
        measures.Bin._fields,
        measures.reliability(answers.probabilities, answers.labels, bins),
    )
    if len(names) == 2:
        points = measures.roc_curve(answers.probabilities[:, 1], answers.labels == 1, _ROC_POINTS)
        _write_csv(folder / "roc.csv", measures.RocPoint._fields, points)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


def draw(
    folder: Path, found: EvaluationResult, test: Dataset, *, bins: int, top_losses: int
) -> None:
    """The pictures: confusion, per_class, reliability, and a sheet of the largest losses."""
    answers = found.answers
    pictures.confusion(found.confusion, answers.class_names, folder / "confusion.png")
    pictures.per_class(found.per_class, folder / "per_class.png")
    after, before = (
        measures.reliability(probabilities, answers.labels, bins)
        for probabilities in (answers.probabilities, found.plain)
    )
    pictures.reliability(after, before, folder / "reliability.png")
    if top_losses:
        samples = _select_worst(answers, test, top_losses)
        pictures.top_losses(samples, len(answers.paths), folder / "top_losses.png")


def _select_worst(answers: Predictions, test: Dataset, limit: int) -> list[pictures.Sample]:
    """The images with the largest loss, worst first."""
    losses = measures.losses(answers.probabilities, answers.labels)
    worst = np.argsort(-losses, kind="stable")[:limit]
    names = answers.class_names
    return [
        pictures.Sample(
            pixels,
            answers.paths[row],
            names[answers.labels[row]],
            names[answers.predicted[row]],
            float(answers.probabilities[row].max()),
        )
        for row, pixels in zip(worst.tolist(), test.splits["test"].pixels[worst], strict=True)
    ]


def lines(measured: EvaluationResult, latency: Latency, plots: Path) -> Iterator[str]:
    """What a person wants to know, most important first."""
    found, confusion = measured.metrics, measured.confusion
    names = [shorten(name, 60) for name in measured.answers.class_names]
    support = confusion.sum(axis=1)
    weakest = measures.weakest_first(measured.per_class)[0]
    area = "" if found.roc_auc is None else f", ROC AUC {found.roc_auc:.3f}"
    yield (
        f"test accuracy {found.accuracy:.3f} (95 % {found.accuracy_low:.3f}-"
        f"{found.accuracy_high:.3f}, n={found.num_images:,}), "
        f"always answering '{names[support.argmax()]}': {found.majority_class_accuracy:.3f}"
    )
    yield f"balanced accuracy {found.balanced_accuracy:.3f}, macro F1 {found.macro_f1:.3f}{area}"
    yield (
        f"weakest class '{shorten(weakest.name, 60)}': recall {weakest.recall:.3f} "
        f"({round(weakest.recall * weakest.support):,} of {weakest.support:,})"
    )
    for true, said, images in measures.most_confused(confusion, 1):
        yield (
            f"most confused: {images:,} of {support[true]:,} '{names[true]}' taken "
            f"for '{names[said]}'"
        )
    yield (
        f"calibration error {found.ece:.3f}, before temperature scaling "
        f"{found.ece_uncalibrated:.3f}; one picture takes {latency.p50_ms:.0f} ms, 95 % at most "
        f"{latency.p95_ms:.0f} ms"
    )
    yield f"pictures and tables: {plots}"
