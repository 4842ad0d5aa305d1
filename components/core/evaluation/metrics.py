"""How good the predictions are: every number of the test split, from logits and true classes.

Shapes: N images, K classes; labels and predicted are class indices 0..K-1, int (N,);
probabilities are float (N, K) with rows that sum to 1; a confusion matrix is int (K, K).

Classes without a test image have recall 0 and support 0, and stay out of every average over
classes. No number depends on the order of the images, to the last bit: sums are exact.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.core.artifacts import ClassMetrics, Metrics
from components.core.errors import PipelineError
from components.core.evaluation.intervals import wilson_interval
from components.core.training import inference

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# scikit-learn's log_loss clips here too: one certain and wrong prediction costs 36, not infinity.
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


class Bin(NamedTuple):
    """Images whose top probability lies in (low, high]."""

    low: float
    high: float
    images: int
    confidence: float  # mean top probability
    accuracy: float  # share classified correctly


class ClassConfusion(NamedTuple):
    """This many images of class `true` were predicted as `predicted` (class indices)."""

    true: int
    predicted: int
    images: int


class RocPoint(NamedTuple):
    """Rates when every image with a probability of at least `threshold` counts as positive."""

    threshold: float
    false_positive_rate: float
    true_positive_rate: float


def predicted_classes(scores: NDArray[np.floating]) -> Ints:
    """The class with the largest score per row (N, K) -> (N,); of equal scores the first."""
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def confusion(labels: Ints, predicted: Ints, num_classes: int) -> Ints:
    """Count images by (true class, predicted class): rows are true."""
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def accuracy(matrix: Ints) -> float:
    """Share of correct predictions: trace / sum of the confusion matrix."""
    return int(np.trace(matrix)) / int(matrix.sum())


def class_metrics(matrix: Ints, class_names: Sequence[str]) -> list[ClassMetrics]:
    """Precision, recall and F1 of each class, in class order; a ratio 0 / 0 is 0.

    precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN).
    Source: Powers 2011, "Evaluation: from precision, recall and F-measure to ROC".
    """
    correct, predicted, support = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    columns = zip(
        class_names,
        _ratio(correct, predicted),
        _ratio(correct, support),
        _ratio(2 * correct, predicted + support),
        support.tolist(),
        strict=True,
    )
    return [
        ClassMetrics(name=name, precision=precision, recall=recall, f1=f1, support=count)
        for name, precision, recall, f1, count in columns
    ]


def _ratio(part: Ints, whole: Ints) -> list[float]:
    ratios: list[float] = (part / np.maximum(whole, 1)).tolist()
    return ratios


def balanced_accuracy(per_class: Sequence[ClassMetrics]) -> float:
    """Mean recall. Source: Brodersen et al. 2010, "The balanced accuracy"."""
    return _mean([c.recall for c in per_class if c.support])


def macro_f1(per_class: Sequence[ClassMetrics]) -> float:
    """Mean of the classes' F1. Source: Opitz and Burst 2019, "Macro F1 and Macro F1", eq. 2."""
    return _mean([c.f1 for c in per_class if c.support])


def weakest_first(per_class: Sequence[ClassMetrics]) -> list[ClassMetrics]:
    """The classes by recall, those without a test image last; equals stay in their order.

    Everything that names the weakest class asks here, so that all name the same one.
    """
    return sorted(per_class, key=lambda c: (not c.support, c.recall))


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def per_image_log_loss(probabilities: Floats, labels: Ints) -> Floats:
    """-ln p(true class) of each image, in nats: 0 to 36.04."""
    true = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(true, _SMALLEST_PROBABILITY, 1.0))


def log_loss(probabilities: Floats, labels: Ints) -> float:
    """Mean -ln p(true class). Source: Good 1952, "Rational decisions"."""
    return math.fsum(per_image_log_loss(probabilities, labels)) / len(labels)


def reliability(probabilities: Floats, labels: Ints, bins: int) -> list[Bin]:
    """Confidence against accuracy: equal-width bins over the top probability, no empty ones.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 2; bin m of M is
    ((m - 1) / M, m / M].
    """
    confidence = probabilities.max(axis=1)
    correct = predicted_classes(probabilities) == labels
    member = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    table = []
    for index in np.unique(member).tolist():
        inside = member == index
        count = int(inside.sum())
        mean = math.fsum(confidence[inside]) / count
        share = int(correct[inside].sum()) / count
        table.append(Bin(index / bins, (index + 1) / bins, count, mean, share))
    return table


def expected_calibration_error(table: list[Bin]) -> float:
    """ECE: mean distance of confidence and accuracy, weighted by images (Guo et al., eq. 3)."""
    total = sum(b.images for b in table)
    return math.fsum(b.images * abs(b.accuracy - b.confidence) for b in table) / total


class Coverage(NamedTuple):
    """What is left when only predictions of at least this confidence are answered."""

    confidence: float
    share: float  # of the images that are answered
    accuracy: float  # on these


def accuracy_at_coverage(probabilities: Floats, labels: Ints, points: int) -> list[Coverage]:
    """Accuracy when the least confident images are left to a person, from few answers to all.

    Source: El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification".

    Args:
        probabilities: (N, K).
        labels: (N,) true classes.
        points: at most so many, evenly over the images; the last answers all.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    correct = np.cumsum((predicted_classes(probabilities) == labels)[order])
    total = len(labels)
    counts = np.unique(np.linspace(1, total, min(points, total)).round().astype(int)).tolist()
    return [
        Coverage(float(confidence[order[n - 1]]), n / total, int(correct[n - 1]) / n)
        for n in counts
    ]


def roc_auc(probabilities: Floats, labels: Ints) -> float | None:
    """Chance that an image of a class scores higher there than one of another class; ties half.

    Two classes: of class 1. More: mean over the classes that have test images, each against the
    rest. None when all images are of one class: there is nothing to compare.
    Source: Hanley and McNeil 1982 (area = Mann-Whitney U / (positives x negatives)).
    """
    present = np.unique(labels).tolist()
    if len(present) < 2:
        return None
    classes = [1] if probabilities.shape[1] == 2 else present
    return _mean([_area(probabilities[:, c], labels == c) for c in classes])


def _area(scores: Floats, positive: NDArray[np.bool_]) -> float:
    others = np.sort(scores[~positive])
    below = np.searchsorted(others, scores[positive], side="left")
    not_above = np.searchsorted(others, scores[positive], side="right")
    return int(below.sum() + not_above.sum()) / 2 / (len(below) * len(others))


def roc_curve(scores: Floats, positive: NDArray[np.bool_], points: int) -> list[RocPoint]:
    """At most `points` thresholds from strict to lax; empty unless both kinds of image are there.

    Args:
        scores: (N,) probability of the positive class.
        positive: (N,) whether the image is of that class.
        points: at least 2; the first and the last threshold are always kept.
    """
    if positive.all() or not positive.any():
        return []
    thresholds = np.unique(scores)[::-1]
    if len(thresholds) > points:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, points).round().astype(int)]
    rates = []
    for kind in (~positive, positive):
        ordered = np.sort(scores[kind])
        rates.append((len(ordered) - np.searchsorted(ordered, thresholds)) / len(ordered))
    columns = (thresholds.tolist(), rates[0].tolist(), rates[1].tolist())
    return [RocPoint(*point) for point in zip(*columns, strict=True)]


def most_confused(matrix: Ints, limit: int) -> list[ClassConfusion]:
    """The most frequent mistakes, largest first, then in class order; at most `limit`."""
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    cells = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    pairs = [divmod(cell, len(matrix)) for cell in cells.tolist()]
    return [ClassConfusion(t, p, int(mistakes[t, p])) for t, p in pairs if mistakes[t, p]]


def most_confused_classes(matrix: Ints, limit: int) -> list[int]:
    """The classes of the most frequent mistakes, then the largest ones: `limit` in class order."""
    pairs = most_confused(matrix, limit**2)
    by_size = np.argsort(-matrix.sum(axis=1), kind="stable").tolist()
    ranked = dict.fromkeys([c for pair in pairs for c in (pair.true, pair.predicted)] + by_size)
    return sorted(list(ranked)[:limit])


def compute_metrics(
    logits: NDArray[np.float32],
    labels: Ints,
    class_names: Sequence[str],
    temperature: float,
    bins: int,
) -> tuple[Metrics, list[ClassMetrics], Ints]:
    """Every number of a split.

    Args:
        logits: (N, K), N >= 1.
        labels: (N,) true classes.
        class_names: K names.
        temperature: divides the logits before they become probabilities.
        bins: of the expected calibration error.

    Returns:
        The metrics, the classes in class order and the confusion matrix.

    Raises:
        PipelineError: a logit is NaN or infinite; such an output must never count as class 0.
    """
    _require_finite(logits)
    matrix = confusion(labels, predicted_classes(logits), len(class_names))
    per_class = class_metrics(matrix, class_names)
    interval = wilson_interval(int(np.trace(matrix)), len(labels), 0.95)
    calibrated = inference.probabilities(logits, temperature)
    uncalibrated = inference.probabilities(logits, 1.0)
    metrics = Metrics(
        num_images=len(labels),
        accuracy=accuracy(matrix),
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        balanced_accuracy=balanced_accuracy(per_class),
        macro_f1=macro_f1(per_class),
        log_loss=log_loss(calibrated, labels),
        ece=expected_calibration_error(reliability(calibrated, labels, bins)),
        ece_uncalibrated=expected_calibration_error(reliability(uncalibrated, labels, bins)),
        roc_auc=roc_auc(calibrated, labels),
        majority_class_accuracy=int(matrix.sum(axis=1).max()) / len(labels),
    )
    return metrics, per_class, matrix


def _require_finite(logits: NDArray[np.float32]) -> None:
    broken = int((~np.isfinite(logits).all(axis=1)).sum())
    if broken:
        raise PipelineError(
            f"model: {broken} of {len(logits)} images get outputs that are not finite numbers; "
            "the weights are unusable. Lower the learning rate and run `dvc repro train`."
        )
