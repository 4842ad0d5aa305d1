"""The conditions that a model must meet: each a small function from a `GateInput` to one check.

`error` = the evidence is invalid, `fail` = not shown to be good enough, or a person must look,
`warn` = stated, but no obstacle, `skipped` = nothing is required or there is nothing to compare
with. Ratios of counts are divided once, which rounds them as a decimal bound is rounded when it is
read: 7 of 10 equals 0.7.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from components.core.evaluation import intervals, metrics
from components.core.gate.bounds import REVIEW, at_least, at_most, make_check, percent
from components.core.gate.champion_checks import champion, per_class_regression
from components.core.gate.gate_input import GateInput
from components.core.gate.record import Check, CheckStatus
from components.core.phrases import listing

_ECE_BINS = 15  # Guo et al. 2017, "On calibration of modern neural networks", section 5


def data_leakage(found: GateInput) -> Check:
    """Test images that the model may have learned by heart prove nothing."""
    leaked = found.evidence.leaked_test_images
    message = "no test image is also in train or val"
    if leaked:
        message = (
            f"{leaked:,} test images, or others of their groups, are also in train or val, so the "
            "predictions prove nothing; run `dvc repro`"
        )
    return make_check("data leakage", leaked, "0", "error" if leaked else "pass", message)


def test_images(found: GateInput) -> Check:
    """Few images prove little."""
    required = found.policy.min_test_images
    enough = found.total >= required
    message = f"{found.total:,} test images; at least {required:,} are required"
    return make_check(
        "test images",
        found.total,
        f">= {required:,}",
        "pass" if enough else "fail",
        message if enough else f"too few images to tell: only {message}",
    )


def test_images_per_class(found: GateInput) -> Check:
    """A class with few test images blocks the model; it is never left out."""
    required, counts = found.policy.min_test_images_per_class, found.matrix.sum(axis=1).tolist()
    names = found.predictions.class_names
    pairs = zip(names, counts, strict=True)
    few = [f"{name} ({count:,})" for name, count in pairs if count < required]
    message = f"each of the {len(names):,} classes has {min(counts):,} test images or more"
    if few:
        message = f"too few images to tell: too few of {listing(few, 3)}"
    return make_check(
        "test images per class",
        min(counts),
        f">= {required:,}",
        "fail" if few else "pass",
        f"{message}; at least {required:,} are required",
    )


def prediction_diversity(found: GateInput) -> Check:
    """A model that always predicts the same class has learned nothing, whatever its accuracy."""
    predicted = np.unique(found.predictions.predicted)
    names, count = found.predictions.class_names, len(predicted)
    message = f"{count:,} of the {len(names):,} classes are predicted"
    if count < 2:
        message = f"every test image is predicted as {names[int(predicted[0])]}"
    status: CheckStatus = "fail" if count < 2 else "pass"
    return make_check("prediction diversity", count, ">= 2", status, message)


def accuracy(found: GateInput) -> Check:
    """The lower bound of the interval counts, so luck on a small test set does not."""
    correct, total, level = int(found.correct.sum()), found.total, found.confidence_level
    low, images = intervals.wilson_interval(correct, total, level).low, f"{total:,} images"
    if found.has_groups:
        sizes, sums = intervals.sum_by_group(found.predictions.groups, found.correct)
        low = min(low, intervals.cluster_bootstrap_lower_bound(sizes, sums, level, worst=0))
        images += f" in {len(sizes):,} groups"
    detail = f"({correct / total:.3f} on {images}, {percent(level)} lower bound)"
    return at_least("accuracy", low, found.policy.min_accuracy, "accuracy is at least", detail)


def macro_f1(found: GateInput) -> Check:
    """Mean F1 = 2 TP / (2 TP + FP + FN) of the classes that have test images."""
    # In fractions, so that a value exactly at the bound is not moved below it by rounding.
    rows, columns = found.matrix.sum(axis=1).tolist(), found.matrix.sum(axis=0).tolist()
    triples = zip(np.diag(found.matrix).tolist(), rows, columns, strict=True)
    scores = [Fraction(2 * correct, row + column) for correct, row, column in triples if row]
    mean = float(sum(scores) / len(scores))
    return at_least("macro F1", mean, found.policy.min_macro_f1, "macro F1 is")


def class_recall(found: GateInput) -> Check:
    """The weakest class decides, whatever the mean is."""
    per_class = metrics.class_metrics(found.matrix, found.predictions.class_names)
    weakest = metrics.weakest_first(per_class)[0]
    subject = f"the weakest class, {weakest.name}, has recall"
    detail = f"({round(weakest.recall * weakest.support):,} of {weakest.support:,})"
    return at_least("class recall", weakest.recall, found.policy.min_class_recall, subject, detail)


def calibration(found: GateInput) -> Check:
    """At a confidence of 90 %, nine of ten predictions should be correct."""
    probabilities, labels = found.predictions.probabilities, found.predictions.labels
    error = metrics.expected_calibration_error(
        metrics.reliability(probabilities, labels, _ECE_BINS)
    )
    subject = "expected calibration error (ECE) is"
    return at_most("calibration", error, found.policy.max_ece, subject)


def model_size(found: GateInput) -> Check:
    """What has to be stored and loaded."""
    size = found.evidence.model_bytes / 1e6
    return at_most("model size", size, found.policy.max_model_mb, "the model has", "MB")


def latency(found: GateInput) -> Check:
    """How long an image takes; a bound without a measurement is an error."""
    measured, bound = found.evidence.latency_p95_ms, found.policy.max_latency_ms
    if measured is not None:
        return at_most("latency", measured, bound, "95 % of the images take at most", "ms")
    if bound is None:
        return make_check("latency", None, "no bound", "skipped", "no bound is set")
    message = "bounded by the policy, but not measured; run `dvc repro evaluate`"
    return make_check("latency", None, f"<= {bound:g}", "error", message)


def test_set_reuse(found: GateInput) -> Check:
    """A test set that chose among many models is no longer fresh evidence."""
    allowed, uses = found.policy.max_test_set_uses, found.uses
    message = f"{uses:,} of {allowed:,} allowed evaluations on these test images are used"
    if uses > allowed:
        level = percent(found.confidence_level)
        message += f", so every interval and test now has a confidence level of {level}"
    if 2 * uses > allowed:
        message += "; collect fresh test images"
    status: CheckStatus = "warn" if 2 * uses > allowed else "pass"
    return make_check("test-set reuse", uses, f"<= {allowed:,}", status, message)


def implausible_result(found: GateInput) -> Check:
    """A result that is too good is more often leakage than a triumph."""
    measured = int(found.correct.sum()) / found.total
    values = [("accuracy", measured, found.policy.max_accuracy)]
    if found.champion_predictions is not None:
        gain = int(found.paired_differences.sum()) / len(found.paired.paths)
        values.append(("gain", gain, found.policy.max_accuracy_gain))
    bounds = [(name, value, bound) for name, value, bound in values if bound is not None]
    above = [
        f"{name} {value:.3f} is above {bound:g}" for name, value, bound in bounds if value > bound
    ]
    threshold = ", ".join(f"{name} <= {bound:g}" for name, _, bound in bounds) or "no bound"
    status: CheckStatus = "pass" if bounds else "skipped"
    message = f"accuracy is {measured:.3f}; " + ("plausible" if bounds else "no bound is set")
    if above:
        status = "fail"
        message = f"{' and '.join(above)}: implausible for unseen images; {REVIEW}"
    return make_check("implausible result", measured, threshold, status, message)


def revocation(found: GateInput) -> Check:
    """What a person rejected or rolled back, only a person promotes again."""
    reason, threshold = found.evidence.revoked_reason, "never revoked"
    if reason:
        return make_check("revocation", None, threshold, "fail", f"{reason}; {REVIEW}")
    message = "was never rejected, rolled back or replaced"
    return make_check("revocation", None, threshold, "pass", message)


# The order in which they are shown, behind those that fail.
CHECKS: tuple[Callable[[GateInput], Check], ...] = (
    data_leakage,
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
    revocation,
    test_set_reuse,
    model_size,
    latency,
)
