"""What the gate's checks look at: validated evidence, and what is counted from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from components.core.evaluation import metrics
from components.core.evaluation.predictions import Predictions
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GateInput:
    """What is decided about. `decide` validates it before any check looks at it.

    Attributes:
        policy: what is required.
        evidence: all but the predictions; classes in the order of `predictions`.
        predictions: of the model.
        champion_predictions: of the champion for the same images but those that it has seen in its
            training, classes in the same order; None exactly unless `evidence.champion.state` is
            `compared`.
    """

    policy: GatePolicy
    evidence: Evidence
    predictions: Predictions
    champion_predictions: Predictions | None

    @property
    def total(self) -> int:
        """Number of test images."""
        return len(self.predictions.labels)

    @cached_property
    def uses(self) -> int:
        """How many models were evaluated on this test set, this one included."""
        return self.evidence.previous_test_uses + 1

    @cached_property
    def confidence_level(self) -> float:
        """Of every interval and test; rises when the test set was used too often.

        Picking the best of many models on one test set also picks luck. Beyond the allowed uses the
        chance of an error is shared out, (1 - level) * allowed / uses, after Bonferroni.
        """
        spread = min(1.0, self.policy.max_test_set_uses / self.uses)
        return 1 - (1 - self.policy.confidence_level) * spread

    @cached_property
    def correct(self) -> Ints:
        """1 for each image that the model classifies correctly, else 0: (N,)."""
        return self.predictions.correct.astype(np.int64)

    @cached_property
    def matrix(self) -> Ints:
        """Confusion matrix (K, K), rows are true classes."""
        found, classes = self.predictions, len(self.predictions.class_names)
        return metrics.confusion(found.labels, found.predicted, classes)

    @cached_property
    def paired(self) -> Predictions:
        """The model's predictions for the M images that the champion was compared on."""
        return self.predictions.among((self.champion_predictions or self.predictions).paths)

    @cached_property
    def paired_differences(self) -> Ints:
        """1 where only this model is correct, -1 where only the champion is, else 0: (M,)."""
        if self.champion_predictions is None:
            return np.zeros(self.total, dtype=np.int64)
        theirs = self.champion_predictions.correct.astype(np.int64)
        return self.paired.correct.astype(np.int64) - theirs

    @cached_property
    def has_groups(self) -> bool:
        """Whether two images belong together, so that they are not independent evidence."""
        return len(set(self.predictions.groups)) < self.total
