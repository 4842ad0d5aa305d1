"""Plots of a model's predictions on the test split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.core.artifacts import ClassMetrics
from components.core.evaluation.metrics import (
    Bin,
    expected_calibration_error,
    most_confused,
    most_confused_classes,
    weakest_first,
)
from components.io.reports.plots.canvas import BLUE, GRAY, GREEN, ORANGE, RED, saved_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Above so many classes a plot shows only the worst ones.
_MANY_CLASSES = 25
_SHOWN_CLASSES = 20

# Height of a contact sheet's cell in widths of an image: the image and four lines below it.
_CELL = 1.4


class Sample(NamedTuple):
    """One image of a contact sheet: pixels (S, S, 3) uint8, and what is written below it."""

    pixels: NDArray[np.uint8]
    path: str
    true: str
    predicted: str
    probability: float  # of the predicted class


def confusion(matrix: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Heat map of the confusion matrix: rows are true classes, shades are shares of the row.

    Args:
        matrix: (K, K) counts. Of many classes those of the most frequent mistakes are shown, and a
            last column sums up their images that were predicted as a class not shown.
        class_names: K names.
        path: the PNG to write.
    """
    title, names = _name_mistake(matrix, class_names), list(class_names)
    if len(names) > _MANY_CLASSES:
        title += f" Shown: the {_SHOWN_CLASSES} of {len(names):,} most confused classes."
        matrix, names = _select_worst(matrix, names)
    rows, columns = matrix.shape
    names = [shorten(name, 28) for name in names]
    margin = 1.6 + 0.075 * max(map(len, names))
    cell = max(0.36, 1.3 / rows)
    with saved_figure(path, margin + cell * columns + 1.2, margin + cell * rows, title) as figure:
        axes = figure.subplots()
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
        axes.grid(visible=False)
        upright = columns > 3 or max(map(len, names)) > 12
        axes.set_xticks(range(columns), names, rotation=90 if upright else 0)
        axes.set_yticks(range(rows), names[:rows])
        axes.set(xlabel="predicted class", ylabel="true class")
        _write_counts(axes, matrix, shares)


def _name_mistake(matrix: NDArray[np.int64], class_names: Sequence[str]) -> str:
    total = int(matrix.sum())
    for true, predicted, images in most_confused(matrix, 1):
        return (
            f"Most frequent mistake: {images:,} of {int(matrix[true].sum()):,} "
            f"'{shorten(class_names[true], 40)}' predicted as "
            f"'{shorten(class_names[predicted], 40)}' (n={total:,})."
        )
    return f"No mistake on {total:,} images."


def _select_worst(
    matrix: NDArray[np.int64], names: list[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """The classes of the most frequent mistakes, in class order, and a column for the rest."""
    shown = most_confused_classes(matrix, _SHOWN_CLASSES)
    inside = matrix[np.ix_(shown, shown)]
    rest = matrix[shown].sum(axis=1, keepdims=True) - inside.sum(axis=1, keepdims=True)
    return np.hstack([inside, rest]), [*(names[i] for i in shown), "(any other)"]


def _write_counts(axes: Axes, matrix: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    many = len(matrix) > 5
    for row, column in np.argwhere(matrix > 0 if many else matrix >= 0).tolist():
        count, share = int(matrix[row, column]), float(shares[row, column])
        axes.text(
            column,
            row,
            f"{count:,}" if many else f"{count:,}\n{share:.0%}",
            ha="center",
            va="center",
            fontsize=7 if many else 9,
            color="white" if share > 0.55 else "black",
        )


def per_class(classes: Sequence[ClassMetrics], path: Path) -> None:
    """Recall (bars) and precision (diamonds) of each class, the lowest recall on top."""
    ranked = [c for c in weakest_first(classes) if c.support]
    weakest, total = ranked[0], sum(c.support for c in ranked)
    title = (
        f"Weakest class: {round(weakest.recall * weakest.support):,} of {weakest.support:,} "
        f"'{shorten(weakest.name, 40)}', recall {weakest.recall:.2f} (n={total:,})."
    )
    if len(ranked) > _MANY_CLASSES:
        title += f" Shown: the {_SHOWN_CLASSES} lowest of {len(ranked):,} classes."
        ranked = ranked[:_SHOWN_CLASSES]
    at = range(len(ranked))
    with saved_figure(path, 8, 1.7 + 0.28 * len(ranked), title) as figure:
        axes = figure.subplots()
        axes.barh(at, [c.recall for c in ranked], color=BLUE, height=0.6, label="recall")
        axes.scatter(
            [c.precision for c in ranked],
            at,
            color=ORANGE,
            edgecolors="black",
            marker="D",
            label="precision",
            clip_on=False,
            zorder=3,
        )
        axes.set_yticks(at, [f"{shorten(c.name, 28)} (n={c.support:,})" for c in ranked])
        axes.set(xlim=(0, 1.02), ylim=(len(ranked) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside lower right", ncols=2)


def reliability(table: list[Bin], before: list[Bin], path: Path) -> None:
    """Reliability diagram: accuracy against confidence, and below it a histogram of confidence.

    Args:
        table: bins of the calibrated probabilities.
        before: bins before temperature scaling.
        path: the PNG to write.
    """
    gap, gap_before = (expected_calibration_error(bins) for bins in (table, before))
    title = (
        f"Expected calibration error (ECE) {gap:.3f}, {gap_before:.3f} before temperature scaling "
        f"(n={sum(b.images for b in table):,})."
    )
    with saved_figure(path, 6, 6.5, title) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        top.plot([0, 1], [0, 1], color=GRAY, linestyle="--", label="perfect")
        for bins, color, marker, label in (
            (before, ORANGE, "s", "before"),
            (table, BLUE, "o", "after temperature scaling"),
        ):
            confidence, accuracy = [b.confidence for b in bins], [b.accuracy for b in bins]
            top.plot(confidence, accuracy, color=color, marker=marker, markersize=5, label=label)
        top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
        top.legend(loc="upper left")
        lows, heights = [b.low for b in table], [b.images for b in table]
        bottom.bar(lows, heights, [b.high - b.low for b in table], align="edge", color=BLUE)
        bottom.set(xlabel="confidence (top probability)", ylabel="images")


def top_losses(samples: Sequence[Sample], num_images: int, path: Path) -> None:
    """Contact sheet of the images with the largest loss, given worst first, out of `num_images`."""
    wrong = sum(s.true != s.predicted for s in samples)
    title = (
        f"Largest losses, worst first: {wrong} of {len(samples)} are misclassified; "
        f"look here for wrong labels (n={num_images:,})."
    )
    columns = min(len(samples), 6 if len(samples) <= 36 else 10)
    rows = math.ceil(len(samples) / columns)
    with saved_figure(path, max(1.6 * columns, 5), 0.7 + 1.6 * _CELL * rows, title) as figure:
        axes = figure.subplots()
        for index, sample in enumerate(samples):
            _draw_sample(axes, sample, *divmod(index, columns))
        axes.set(xlim=(0, columns), ylim=(rows * _CELL, 0), aspect="equal")
        axes.axis("off")


def _draw_sample(axes: Axes, sample: Sample, row: int, column: int) -> None:
    left, top = column + 0.03, row * _CELL
    axes.imshow(sample.pixels, extent=(left, left + 0.94, top + 0.97, top + 0.03))
    place = shorten(sample.path, 52)
    lines = (
        (f"true: {shorten(sample.true, 20)}", "black"),
        (
            f"pred: {shorten(sample.predicted, 17)} {sample.probability:.0%}",
            GREEN if sample.true == sample.predicted else RED,
        ),
        (place[:26], GRAY),
        (place[26:], GRAY),
    )
    for line, (text, color) in enumerate(lines):
        axes.text(left, top + 1.06 + 0.085 * line, text, fontsize=6.5, color=color, in_layout=False)
