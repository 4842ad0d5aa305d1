"""What the gate's checks judge, and how they say what came out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.core.evaluation import metrics
from components.core.evaluation.predictions import Predictions
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy, Verdict
from components.core.gate.record import Check

Ints = NDArray[np.int64]
Outcome = Verdict | Literal["warn"]

REVIEW = "have a person look, then run `python -m pipeline approve`"


@dataclass(frozen=True, eq=False)
class Case:
    """What is judged. `gate` makes sure that it is sound before any check looks at it.

    Attributes:
        policy: what is demanded.
        evidence: all but the answers; classes in the order of `answers`.
        answers: of the model.
        rival: of the champion to the same images, classes in the same order; None exactly unless
            `evidence.champion.state` is `compared`.
    """

    policy: GatePolicy
    evidence: Evidence
    answers: Predictions
    rival: Predictions | None

    @property
    def total(self) -> int:
        """Number of test images."""
        return len(self.answers.labels)

    @cached_property
    def uses(self) -> int:
        """How many models were judged on this test set, this one included."""
        return self.evidence.previous_test_uses + 1

    @cached_property
    def confidence(self) -> float:
        """Of every interval and test; rises when the test set was used too often.

        Who picks the best of many models on one test set picks luck with it. Beyond the free uses
        the chance of an error is shared out: (1 - confidence) * free / uses, after Bonferroni.
        """
        spread = min(1.0, self.policy.max_test_set_uses / self.uses)
        return 1 - (1 - self.policy.confidence) * spread

    @cached_property
    def correct(self) -> Ints:
        """1 for each image that the model answers correctly, else 0: (N,)."""
        return np.asarray(self.answers.predicted == self.answers.labels, dtype=np.int64)

    @cached_property
    def matrix(self) -> Ints:
        """Confusion matrix (K, K), rows are true classes."""
        found, classes = self.answers, len(self.answers.class_names)
        return metrics.confusion(found.labels, found.predicted, classes)

    @cached_property
    def paired_differences(self) -> Ints:
        """1 where only this model is right, -1 where only the champion is, else 0: (N,)."""
        if self.rival is None:
            return np.zeros(self.total, dtype=np.int64)
        before = np.asarray(self.rival.predicted == self.rival.labels, dtype=np.int64)
        return self.correct - before

    @cached_property
    def grouped(self) -> bool:
        """Whether two images belong together, so that they are no independent evidence."""
        return len(set(self.answers.groups)) < self.total


def outcome(
    name: str,
    value: float | None,
    wanted: str,
    verdict: Outcome,
    reason: str,
) -> Check:
    """One row of the decision."""
    return Check(name=name, value=value, wanted=wanted, verdict=verdict, reason=reason)


def at_least(name: str, value: float, bound: float, words: str, detail: str = "") -> Check:
    """Held when the value lies below the bound."""
    shown, wanted = _tell_apart(value, bound)
    reason = f"{words} {shown} {detail}".rstrip() + f"; {wanted} is wanted"
    return outcome(name, value, f">= {wanted}", "promote" if value >= bound else "hold", reason)


def at_most(name: str, value: float, bound: float | None, words: str, unit: str = "") -> Check:
    """Held when the value lies above the bound, where there is one."""
    if bound is None:
        reason = f"{words} {value:.3f} {unit}".rstrip() + "; no bound is set"
        return outcome(name, value, "no bound", "promote", reason)
    shown, allowed = _tell_apart(value, bound)
    reason = f"{words} {shown} {unit}".rstrip() + f"; {allowed} is allowed"
    return outcome(name, value, f"<= {allowed}", "promote" if value <= bound else "hold", reason)


def percent(share: float) -> str:
    """0.95 -> "95 %"."""
    return f"{100 * share:.4g} %"


def _tell_apart(value: float, bound: float) -> tuple[str, str]:
    """Both with so many digits that a near miss is seen: 3 to 9."""
    digits = 3
    while value != bound and f"{value:.{digits}f}" == f"{bound:.{digits}f}" and digits < 9:
        digits += 1
    return f"{value:.{digits}f}", f"{bound:.{digits}f}"
