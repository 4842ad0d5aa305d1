"""The gate: whether a model may become champion. Pure: a policy and evidence in, a decision out.

Every check always runs and the worst verdict wins. Anything missing, not finite or contradictory is
`error`; a missed threshold, or too few images to tell, is `hold`; only the rest is `promote`.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from components.core.artifacts import Check, Decision, Evaluation, Interval, Share, Verdict

T = TypeVar("T", bound=BaseModel)

_SEVERITY: dict[Verdict, int] = {"promote": 0, "hold": 1, "error": 2}

# 0.975 quantile of the standard normal distribution
_Z_95 = 1.959963984540054

# Stated numbers may differ by this much from the ones recomputed from counts.
_ROUNDING = 1e-9


class GatePolicy(BaseModel):
    """What a model must reach. A value that equals its threshold passes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    min_accuracy: Share = Field(description="Lower end of the 95 % interval of the accuracy.")
    min_macro_f1: Share
    min_class_recall: Share = Field(description="Of every class.")
    min_test_images: int = Field(ge=1)


def wilson_interval(correct: int, total: int, z: float = _Z_95) -> Interval:
    """Confidence interval of a share: `correct` of `total`, 0 <= correct <= total, total >= 1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Args:
        correct: number of successes.
        total: number of trials.
        z: quantile of the standard normal distribution; the default gives 95 %.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} of {total} is no share")
    centre = correct + z * z / 2
    half = z * math.sqrt(correct * (total - correct) / total + z * z / 4)
    scale = total + z * z
    return Interval(low=(centre - half) / scale, high=min(1.0, (centre + half) / scale))


def decide(policy: GatePolicy, evidence: Evaluation) -> Decision:
    """The verdict with its reasons, failing checks first. Total: it answers on any input."""
    try:
        policy, evidence = _revalidated(policy), _revalidated(evidence)
        problem = _not_finite(evidence) or _malformed(evidence) or _misstated(evidence)
    except ValueError as error:
        problem = " ".join(str(error).split())
    if problem:
        return Decision(verdict="error", checks=[_evidence_check("error", problem)])
    checks = [
        _test_size(policy, evidence),
        _coverage(evidence),
        _accuracy(policy, evidence),
        _macro_f1(policy, evidence),
        _class_recall(policy, evidence),
        _evidence_check("promote", "all numbers agree with the confusion matrix"),
    ]
    checks.sort(key=lambda check: -_SEVERITY[check.verdict])
    return Decision(verdict=checks[0].verdict, checks=checks)


def _revalidated(model: T) -> T:
    """Validate again: a model that was built around its validators must not pass the gate."""
    return type(model).model_validate(model.model_dump(warnings=False))


def _not_finite(evidence: Evaluation) -> str:
    for name, value in evidence.metrics:
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name} is {value}, not a finite number"
    return ""


def _malformed(evidence: Evaluation) -> str:
    matrix, classes = evidence.confusion, len(evidence.per_class)
    if [len(row) for row in matrix] != [classes] * classes:
        return f"the confusion matrix is not square with {classes} classes"
    if any(count < 0 for row in matrix for count in row):
        return "the confusion matrix holds a negative count"
    return "" if any(map(sum, matrix)) else "no test image was evaluated"


def _misstated(evidence: Evaluation) -> str:
    for name, stated, counted in _statements(evidence):
        if not abs(stated - counted) <= _ROUNDING:
            return f"{name} is stated as {stated:.9g}, but the confusion matrix gives {counted:.9g}"
    return ""


def _statements(evidence: Evaluation) -> Iterator[tuple[str, float, float]]:
    """Each number that follows from the confusion matrix: its name, as stated, as counted."""
    metrics, matrix = evidence.metrics, evidence.confusion
    correct, total = _correct(evidence)
    interval = wilson_interval(correct, total)
    yield "num_images", metrics.num_images, total
    yield "accuracy", metrics.accuracy, correct / total
    yield "accuracy_low", metrics.accuracy_low, interval.low
    yield "accuracy_high", metrics.accuracy_high, interval.high
    yield "macro_f1", metrics.macro_f1, _mean_f1(matrix)
    columns = [sum(column) for column in zip(*matrix, strict=True)]
    for k, (row, predicted, stated) in enumerate(
        zip(matrix, columns, evidence.per_class, strict=True)
    ):
        support = sum(row)
        yield f"support of {stated.name}", stated.support, support
        yield f"recall of {stated.name}", stated.recall, row[k] / max(support, 1)
        yield f"precision of {stated.name}", stated.precision, row[k] / max(predicted, 1)
        yield f"F1 of {stated.name}", stated.f1, 2 * row[k] / max(support + predicted, 1)


def _correct(evidence: Evaluation) -> tuple[int, int]:
    """Images answered correctly, and all images."""
    matrix = evidence.confusion
    return sum(row[k] for k, row in enumerate(matrix)), sum(map(sum, matrix))


def _mean_f1(matrix: list[list[int]]) -> float:
    """Mean F1 = 2 TP / (2 TP + FP + FN) of the classes that have test images.

    In fractions, so that a value exactly at the threshold is not moved below it by rounding.
    """
    columns = [sum(column) for column in zip(*matrix, strict=True)]
    scores = [
        Fraction(2 * row[k], sum(row) + columns[k]) for k, row in enumerate(matrix) if sum(row)
    ]
    return float(sum(scores) / len(scores))


def _evidence_check(verdict: Verdict, reason: str) -> Check:
    wanted = "complete and consistent"
    return Check(name="evidence", value=None, wanted=wanted, verdict=verdict, reason=reason)


def _test_size(policy: GatePolicy, evidence: Evaluation) -> Check:
    total, wanted = evidence.metrics.num_images, policy.min_test_images
    reason = f"{total:,} test images; {wanted:,} are wanted"
    if total < wanted:
        reason = f"too small to tell: only {reason}"
    return Check(
        name="test images",
        value=total,
        wanted=f">= {wanted:,}",
        verdict="promote" if total >= wanted else "hold",
        reason=reason,
    )


def _coverage(evidence: Evaluation) -> Check:
    """A class without test images has no recall to judge: it holds, it is never skipped."""
    empty = [c.name for c in evidence.per_class if not c.support]
    reason = f"each of the {len(evidence.per_class):,} classes has test images"
    if empty:
        more = f" and {len(empty) - 3:,} more" if empty[3:] else ""
        reason = f"too small to tell: no test image of {', '.join(empty[:3])}{more}"
    return Check(
        name="class coverage",
        value=min(c.support for c in evidence.per_class),
        wanted=">= 1",
        verdict="hold" if empty else "promote",
        reason=reason,
    )


def _accuracy(policy: GatePolicy, evidence: Evaluation) -> Check:
    correct, total = _correct(evidence)
    low = wilson_interval(correct, total).low
    measured = f"({correct / total:.3f} measured on {total:,} images, 95 % lower bound)"
    return _threshold("accuracy", low, policy.min_accuracy, "accuracy is at least", measured)


def _macro_f1(policy: GatePolicy, evidence: Evaluation) -> Check:
    return _threshold("macro F1", _mean_f1(evidence.confusion), policy.min_macro_f1, "macro F1 is")


def _class_recall(policy: GatePolicy, evidence: Evaluation) -> Check:
    """The weakest class decides, whatever the mean says."""
    found = [(row[k] / sum(row), k) for k, row in enumerate(evidence.confusion) if sum(row)]
    recall, k = min(found)
    row = evidence.confusion[k]
    words = f"the weakest class, {evidence.per_class[k].name}, is recognised at"
    counts = f"({row[k]:,} of {sum(row):,})"
    return _threshold("class recall", recall, policy.min_class_recall, words, counts)


def _threshold(name: str, value: float, wanted: float, words: str, detail: str = "") -> Check:
    # A division is rounded once, as a decimal threshold is when it is read: 7/10 equals 0.7.
    digits = 3
    while value != wanted and f"{value:.{digits}f}" == f"{wanted:.{digits}f}" and digits < 9:
        digits += 1
    reason = f"{words} {value:.{digits}f} {detail}".rstrip()
    return Check(
        name=name,
        value=value,
        wanted=f">= {wanted:.{digits}f}",
        verdict="promote" if value >= wanted else "hold",
        reason=f"{reason}; {wanted:.{digits}f} is wanted",
    )
