"""Whether another form of a model, e.g. with 8-bit weights, still gives its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.core.evaluation import metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_SAME_LABELS = 0.995
MAX_MACRO_F1_LOSS = 0.005


@dataclass(frozen=True)
class Agreement:
    """How the predictions of two forms of a model differ on the same images.

    Attributes:
        images: that both predicted.
        same_labels: share of them with the same predicted class.
        macro_f1_loss: of the original minus of the other form; below 0 where that is better.
        max_probability_change: the largest, over all images and classes.
    """

    images: int
    same_labels: float
    macro_f1_loss: float
    max_probability_change: float

    @property
    def refusal(self) -> str:
        """Why the other form must not stand in for the original; empty if it may."""
        reasons = []
        if not self.same_labels >= MIN_SAME_LABELS:
            reasons.append(
                f"{self.same_labels:.2%} of {self.images:,} images keep their label, "
                f"{MIN_SAME_LABELS:.1%} are wanted"
            )
        if not self.macro_f1_loss <= MAX_MACRO_F1_LOSS:
            reasons.append(
                f"macro F1 falls by {self.macro_f1_loss:.4f}, {MAX_MACRO_F1_LOSS} is allowed"
            )
        return "; ".join(reasons)


def compare(original: Floats, other: Floats, labels: NDArray[np.int64]) -> Agreement:
    """Compare two tables of probabilities.

    Args:
        original: (N, K), N >= 1.
        other: (N, K) of the same images and classes.
        labels: (N,) true class indices.
    """
    first, second = metrics.predicted_classes(original), metrics.predicted_classes(other)
    classes = original.shape[1]
    return Agreement(
        images=len(labels),
        same_labels=float((first == second).mean()),
        macro_f1_loss=_macro_f1(labels, first, classes) - _macro_f1(labels, second, classes),
        max_probability_change=float(np.abs(original - other).max()),
    )


def _macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    matrix = metrics.confusion(labels, predicted, classes)
    return metrics.macro_f1(metrics.class_metrics(matrix, [str(k) for k in range(classes)]))
