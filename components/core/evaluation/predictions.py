"""Predictions of a model for the test images, in one order for all models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of one model for N test images, K classes; index k is class_names[k].

    Attributes:
        class_names: order of the columns of `probabilities`.
        paths: of the images, sorted.
        groups: images of one group are not independent evidence.
        labels: true classes, int (N,).
        predicted: predicted classes, int (N,).
        probabilities: (N, K), after temperature scaling.
    """

    class_names: list[str]
    paths: list[str]
    groups: list[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def in_order_of(self, class_names: Sequence[str]) -> Predictions:
        """The same with the classes in another order; aligned by name, never by position.

        Raises:
            ValueError: these are other classes.
        """
        if sorted(class_names) != sorted(self.class_names):
            raise ValueError("other classes")
        order = [self.class_names.index(name) for name in class_names]
        place = np.argsort(order)
        return replace(
            self,
            class_names=list(class_names),
            labels=place[self.labels],
            predicted=place[self.predicted],
            probabilities=self.probabilities[:, order],
        )

    def among(self, paths: Sequence[str]) -> Predictions:
        """Those for some of the images, in the same order.

        Args:
            paths: of images that are all here.
        """
        chosen = set(paths)
        rows = [row for row, path in enumerate(self.paths) if path in chosen]
        return replace(
            self,
            paths=[self.paths[row] for row in rows],
            groups=[self.groups[row] for row in rows],
            labels=self.labels[rows],
            predicted=self.predicted[rows],
            probabilities=self.probabilities[rows],
        )

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which images are classified correctly, (N,)."""
        return np.asarray(self.predicted == self.labels)
