"""The conditions that a model must meet: each a small function from a `Case` to one outcome.

`error` = the evidence is unfit, `hold` = not shown to be good enough, or a person must look,
`warn` = said, but no obstacle. Ratios of counts are divided once, which rounds them as a decimal
bound is rounded when it is read: 7 of 10 equals 0.7.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from components.core.evaluation import intervals, metrics
from components.core.gate.champion_checks import champion, per_class_regression
from components.core.gate.gate_input import (
    REVIEW,
    Case,
    Outcome,
    at_least,
    at_most,
    outcome,
    percent,
)
from components.core.gate.record import Check

_ECE_BINS = 15  # Guo et al. 2017, "On calibration of modern neural networks", section 5


def leak(case: Case) -> Check:
    """Test images that the model may have learned by heart prove nothing."""
    shared = case.evidence.leaked_test_images
    reason = "no test image is also in train or val"
    if shared:
        reason = (
            f"{shared:,} test images, or others of their groups, are also in train or val, so the "
            "answers prove nothing; run `dvc repro`"
        )
    return outcome("leak", shared, "0", "error" if shared else "promote", reason)


def test_images(case: Case) -> Check:
    """Few images prove little."""
    wanted = case.policy.min_test_images
    reason = f"{case.total:,} test images; {wanted:,} are wanted"
    enough = case.total >= wanted
    return outcome(
        "test images",
        case.total,
        f">= {wanted:,}",
        "promote" if enough else "hold",
        reason if enough else f"too small to tell: only {reason}",
    )


def test_images_per_class(case: Case) -> Check:
    """A class with few test images is held, never skipped."""
    wanted, counts = case.policy.min_test_images_per_class, case.matrix.sum(axis=1).tolist()
    names = case.answers.class_names
    pairs = zip(names, counts, strict=True)
    few = [f"{name} ({count:,})" for name, count in pairs if count < wanted]
    reason = f"each of the {len(names):,} classes has at least {min(counts):,} test images"
    if few:
        more = f" and {len(few) - 3:,} more" if few[3:] else ""
        reason = f"too small to tell: too few test images of {', '.join(few[:3])}{more}"
    return outcome(
        "test images per class",
        min(counts),
        f">= {wanted:,}",
        "hold" if few else "promote",
        f"{reason}; {wanted:,} are wanted",
    )


def prediction_diversity(case: Case) -> Check:
    """A model that always says the same has learned nothing, whatever share it gets right."""
    given = np.unique(case.answers.predicted)
    reason = f"{len(given):,} of the {len(case.answers.class_names):,} classes are given as answers"
    if len(given) < 2:
        name = case.answers.class_names[int(given[0])]
        reason = f"every test image gets the same answer, {name}, whatever it shows"
    return outcome("answers", len(given), ">= 2", "hold" if len(given) < 2 else "promote", reason)


def accuracy(case: Case) -> Check:
    """The lower end of the interval counts, so that luck on a small test set does not."""
    correct, total, confidence = int(case.correct.sum()), case.total, case.confidence
    low, images = intervals.wilson_interval(correct, total, confidence).low, f"{total:,} images"
    if case.grouped:
        sizes, sums = intervals.sum_by_group(case.answers.groups, case.correct)
        low = min(low, intervals.cluster_bootstrap_lower_bound(sizes, sums, confidence, worst=0))
        images += f" in {len(sizes):,} groups"
    measured = f"({correct / total:.3f} measured on {images}, {percent(confidence)} lower bound)"
    return at_least("accuracy", low, case.policy.min_accuracy, "accuracy is at least", measured)


def macro_f1(case: Case) -> Check:
    """Mean F1 = 2 TP / (2 TP + FP + FN) of the classes that have test images."""
    # In fractions, so that a value exactly at the bound is not moved below it by rounding.
    rows, columns = case.matrix.sum(axis=1).tolist(), case.matrix.sum(axis=0).tolist()
    triples = zip(np.diag(case.matrix).tolist(), rows, columns, strict=True)
    scores = [Fraction(2 * correct, row + column) for correct, row, column in triples if row]
    mean = float(sum(scores) / len(scores))
    return at_least("macro F1", mean, case.policy.min_macro_f1, "macro F1 is")


def class_recall(case: Case) -> Check:
    """The weakest class decides, whatever the mean says."""
    correct, counts = np.diag(case.matrix).tolist(), case.matrix.sum(axis=1).tolist()
    recall, k = min((correct[k] / count, k) for k, count in enumerate(counts) if count)
    words = f"the weakest class, {case.answers.class_names[k]}, is recognized at"
    detail = f"({correct[k]:,} of {counts[k]:,})"
    return at_least("class recall", recall, case.policy.min_class_recall, words, detail)


def calibration(case: Case) -> Check:
    """When the model says 90 %, nine of ten should be right."""
    table = metrics.reliability(case.answers.probabilities, case.answers.labels, _ECE_BINS)
    error = metrics.expected_calibration_error(table)
    words = "stated and true certainty differ on average by"
    return at_most("calibration", error, case.policy.max_ece, words)


def model_size(case: Case) -> Check:
    """What has to be stored and loaded."""
    size = case.evidence.model_bytes / 1e6
    return at_most("model size", size, case.policy.max_model_mb, "the model has", "MB")


def latency(case: Case) -> Check:
    """How long a picture takes; a bound that nobody measured against is an error."""
    measured, bound = case.evidence.latency_p95_ms, case.policy.max_latency_ms
    if measured is not None:
        return at_most("latency", measured, bound, "19 of 20 pictures are answered within", "ms")
    if bound is None:
        return outcome("latency", None, "no bound", "promote", "not measured; no bound is set")
    reason = "bounded by the policy, but not measured; run `dvc repro evaluate`"
    return outcome("latency", None, f"<= {bound:g}", "error", reason)


def test_set_reuse(case: Case) -> Check:
    """A test set that chose among many models is no longer fresh evidence."""
    free, uses = case.policy.max_test_set_uses, case.uses
    reason = f"{uses:,} models were judged on these test images; {free:,} are free"
    if uses > free:
        reason += f", so every interval and test now asks for {percent(case.confidence)} confidence"
    if 2 * uses > free:
        reason += "; collect fresh test images"
    verdict: Outcome = "warn" if 2 * uses > free else "promote"
    return outcome("test-set reuse", uses, f"<= {free:,}", verdict, reason)


def implausible_result(case: Case) -> Check:
    """A result beyond belief is more often a leak than a triumph."""
    measured = int(case.correct.sum()) / case.total
    found = [("accuracy", measured, case.policy.max_accuracy)]
    if case.rival is not None:
        found.append(
            ("gain", int(case.paired_differences.sum()) / case.total, case.policy.max_accuracy_gain)
        )
    bounds = [(name, value, bound) for name, value, bound in found if bound is not None]
    above = [
        f"{name} {value:.3f} is above {bound:g}" for name, value, bound in bounds if value > bound
    ]
    reason = f"accuracy is {measured:.3f}, not beyond belief"
    if above:
        reason = f"{' and '.join(above)}: too good to be believed unseen; {REVIEW}"
    wanted = ", ".join(f"{name} <= {bound:g}" for name, _, bound in bounds) or "no bound"
    return outcome("too good", measured, wanted, "hold" if above else "promote", reason)


def history(case: Case) -> Check:
    """What people took back, only people bring back."""
    reason = case.evidence.revoked_reason
    if reason:
        return outcome("history", None, "never revoked_reason", "hold", f"{reason}; {REVIEW}")
    return outcome("history", None, "never revoked_reason", "promote", "was never taken back")


# In this order, those that fail first.
CHECKS: tuple[Callable[[Case], Check], ...] = (
    leak,
    test_images,
    test_images_per_class,
    prediction_diversity,
    accuracy,
    macro_f1,
    class_recall,
    calibration,
    champion,
    per_class_regression,
    implausible_result,
    history,
    test_set_reuse,
    model_size,
    latency,
)
