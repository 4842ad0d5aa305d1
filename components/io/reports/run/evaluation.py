"""Sections about the test images: confusion matrix, classes, mistakes, confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components.core.evaluation import metrics
from components.core.evaluation.intervals import wilson_interval
from components.core.evaluation.metrics import Ints
from components.io.reports.charts import Chart, Line, share_bar

if TYPE_CHECKING:
    from markupsafe import Markup

    from components.core.evaluation.predictions import Predictions
    from components.io.reports.run.files import RunFiles

# Of more classes than the first number the matrix shows as many as the second.
_MANY_CLASSES, _SHOWN_CLASSES = 25, 20
_WEAKEST = 25  # classes in the table
_WRONG, _RIGHT = 12, 4  # images of a cell that are shown
_COVERAGE_POINTS = 200


class Cell(NamedTuple):
    """A cell of the matrix: images of one true class that were predicted as one class."""

    id: str
    true: str
    predicted: str
    images: int
    share: float  # of the true class
    right: bool
    paths: list[str]  # those that are shown: the most confident mistakes, the least confident hits
    confidence: dict[str, float]


class Matrix(NamedTuple):
    """The confusion matrix, or of many classes the most confused part of it."""

    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    num_classes: int


def matrix(found: Predictions) -> Matrix:
    """The cells with their images; rows are true classes."""
    names = found.class_names
    counts = metrics.confusion(found.labels, found.predicted, len(names))
    shown = list(range(len(names)))
    if len(names) > _MANY_CLASSES:
        shown = metrics.most_confused_classes(counts, _SHOWN_CLASSES)
    others = np.setdiff1d(np.arange(len(names)), shown)
    columns = [(names[k], np.array([k])) for k in shown]
    columns += [("(any other)", others)] if len(others) else []
    rows = [
        (names[true], [_cell(found, true, *column, (i, j)) for j, column in enumerate(columns)])
        for i, true in enumerate(shown)
    ]
    return Matrix([name for name, _ in columns], rows, len(names))


def _cell(
    found: Predictions, true: int, name: str, predicted: Ints, place: tuple[int, int]
) -> Cell:
    of_class = found.labels == true
    rows = np.flatnonzero(of_class & np.isin(found.predicted, predicted))
    right = true in predicted.tolist()
    confidence = found.probabilities[rows].max(axis=1) if len(rows) else np.zeros(0)
    order = np.argsort(confidence if right else -confidence, kind="stable")
    shown = rows[order][: _RIGHT if right else _WRONG].tolist()
    return Cell(
        id=f"cell-{place[0]}-{place[1]}",
        true=found.class_names[true],
        predicted=name,
        images=len(rows),
        share=len(rows) / max(int(of_class.sum()), 1),
        right=right,
        paths=[found.paths[row] for row in shown],
        confidence={found.paths[row]: float(found.probabilities[row].max()) for row in shown},
    )


class ClassRow(NamedTuple):
    """A class on the test images, beside the champion on those that it has not seen."""

    name: str
    images: int
    correct: int
    recall: float
    low: float
    high: float
    precision: float
    champion: float | None
    champion_images: int | None

    @property
    def champion_has_fewer(self) -> bool:
        """Whether the champion's recall rests on fewer images."""
        return self.champion_images is not None and self.champion_images < self.images

    @property
    def bar(self) -> Markup:
        """Recall with its interval, the champion's as a mark."""
        words = f"recall {self.recall:.2f}, 95 %: {self.low:.2f} to {self.high:.2f}"
        if self.champion is not None:
            words += f", champion {self.champion:.2f}"
        return share_bar(self.recall, self.low, self.high, self.champion, words)


COVERAGE_COLUMNS = metrics.Coverage._fields
CLASS_COLUMNS = ("class", *ClassRow._fields[1:])


def class_rows(found: Predictions, champion: Predictions | None) -> list[ClassRow]:
    """All classes, the lowest recall first; those without a test image last."""
    theirs = _recalls(champion) if champion else {}
    rows = []
    counts = metrics.confusion(found.labels, found.predicted, len(found.class_names))
    for each in metrics.weakest_first(metrics.class_metrics(counts, found.class_names)):
        correct = round(each.recall * each.support)
        low, high = wilson_interval(correct, each.support, 0.95) if each.support else (0.0, 1.0)
        beside = theirs.get(each.name, (None, 0 if champion else None))
        row = (each.name, each.support, correct, each.recall, low, high, each.precision, *beside)
        rows.append(ClassRow(*row))
    return rows


def _recalls(found: Predictions) -> dict[str, tuple[float, int]]:
    """Recall of each class that has images, and how many it has."""
    counts = metrics.confusion(found.labels, found.predicted, len(found.class_names))
    classes = metrics.class_metrics(counts, found.class_names)
    return {each.name: (each.recall, each.support) for each in classes if each.support}


def weakest(rows: Sequence[ClassRow]) -> Sequence[ClassRow]:
    """Those in the table; all are in classes.csv."""
    return rows[:_WEAKEST]


def reliability_chart(files: RunFiles) -> Chart | None:
    """Accuracy against confidence."""
    if not files.reliability or files.evaluation is None:
        return None
    found = files.evaluation.metrics
    points = [(float(row["confidence"]), float(row["accuracy"])) for row in files.reliability]
    return Chart(
        title=f"Expected calibration error (ECE) {found.ece:.3f} on {found.num_images:,} images, "
        f"{found.ece_uncalibrated:.3f} before temperature scaling.",
        lines=[
            Line("perfect", [(0, 0), (1, 1)], "soft", "dashed"),
            Line("this model", points, "one"),
            Line("", points, "one", "dots"),
        ],
        x_label="confidence (top probability)",
        y_label="accuracy",
        x_range=(0, 1),
        y_range=(0, 1),
    )


def coverage(found: Predictions) -> list[metrics.Coverage]:
    """Accuracy when the least confident images are left to a person, from few answers to all."""
    return metrics.accuracy_at_coverage(found.probabilities, found.labels, _COVERAGE_POINTS)


def coverage_chart(found: Predictions) -> Chart:
    """The same as a curve."""
    table = coverage(found)
    whole = table[-1].accuracy
    # Few answers make a noisy start: the first tenth is not drawn.
    points = [(c.share, c.accuracy) for c in table if c.share >= 0.1]
    half = min(table, key=lambda c: abs(c.share - 0.5))
    return Chart(
        title=f"Answering only the more confident half would raise accuracy from {whole:.3f} to "
        f"{half.accuracy:.3f}."
        if half.accuracy > whole
        else "Leaving the less confident images to a person would not raise accuracy.",
        lines=[Line("", points, "one")],
        x_label="share of images that are answered (coverage)",
        y_label="accuracy",
        x_range=(0, 1),
    )
