"""What the mistakes on test images say about the data: the other half of the diagnosis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from components.core.evaluation import metrics
from components.core.evaluation.diagnosis import Finding
from components.core.evaluation.predictions import Predictions

_ODDS = 2.7  # of the first class against the second, above which a prediction is confident
_ENOUGH = 8  # mistakes, below which nothing is said about them


def diagnose_mistakes(
    found: Predictions,
    class_counts: Mapping[str, int],
    attributes: Mapping[str, Sequence[tuple[str, str]]],
    *,
    rotate_90: bool,
) -> list[Finding]:
    """Findings about imbalance, labels and shortcuts, the most important first.

    Args:
        found: predictions of the test images.
        class_counts: training images of each class.
        attributes: what is known of an image besides its pixels, e.g. its format: name ->
            (value, class) of each used image.
        rotate_90: whether training rotated images by quarter turns.
    """
    findings = (
        _shortcut(attributes),
        _orientation(found, rotate_90),
        _imbalance(found, class_counts),
        _label_noise(found),
    )
    return [finding for finding in findings if finding]


def _imbalance(found: Predictions, class_counts: Mapping[str, int]) -> Finding | None:
    """Rare classes that are recognized much less often than frequent ones."""
    counts = [class_counts.get(name, 0) for name in found.class_names]
    ratio = max(counts) / max(min(counts), 1)
    if ratio < 4:
        return None
    matrix = metrics.confusion(found.labels, found.predicted, len(counts))
    recalls = [each.recall for each in metrics.class_metrics(matrix, found.class_names)]
    middle = np.sqrt(max(counts) * max(min(counts), 1))
    rare = float(np.mean([r for r, n in zip(recalls, counts, strict=True) if n <= middle]))
    common = float(np.mean([r for r, n in zip(recalls, counts, strict=True) if n > middle]))
    if rare > common - 0.2:
        return None
    evidence = (
        f"the largest class has {ratio:.0f} times the training images of the smallest; rare "
        f"classes have recall {rare:.2f}, the others {common:.2f}"
    )
    return Finding("imbalance", evidence, "Set training.class_weights to balanced")


def _label_noise(found: Predictions) -> Finding | None:
    """Mistakes as confident as hits: the model is right, and the label may be wrong.

    Where images are hard, confidence tells mistakes from hits; where labels are wrong it does not.
    """
    wrong = ~found.correct
    confidence = found.probabilities.max(axis=1)
    if wrong.sum() < _ENOUGH or wrong.mean() > 0.35:
        return None
    above = _area(confidence[~wrong], confidence[wrong])
    sure = float(np.median(confidence[wrong]) / np.median(confidence[~wrong]))
    ranked = np.sort(found.probabilities[wrong], axis=1)
    odds = float(np.median(ranked[:, -1] / np.maximum(ranked[:, -2], 1e-9)))
    if above > 0.7 or sure < 0.75 or odds < _ODDS:
        return None
    evidence = (
        f"the {int(wrong.sum()):,} mistakes are nearly as confident as the hits: a hit is the more "
        f"confident one of the two in {above:.0%} of pairs"
    )
    return Finding("label noise", evidence, "Look at the most confident mistakes for wrong labels")


def _area(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    """Chance that one of `higher` exceeds one of `lower`; ties half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.sum() / 2 / (len(higher) * len(lower)))


def _orientation(found: Predictions, rotate_90: bool) -> Finding | None:
    """Two classes that are taken for each other while training rotates its images."""
    matrix = metrics.confusion(found.labels, found.predicted, len(found.class_names))
    errors = int(matrix.sum() - np.trace(matrix))
    if not rotate_90 or errors < _ENOUGH or len(matrix) < 3:
        return None
    ((one, other, _),) = metrics.most_confused(matrix, 1)
    support = matrix.sum(axis=1)
    back = min(matrix[one, other], matrix[other, one]) / max(support[one], support[other])
    share = (matrix[one, other] + matrix[other, one]) / errors
    if back < 0.15 or share < 0.4:
        return None
    names = found.class_names
    evidence = (
        f"{share:.0%} of all mistakes take {names[one]} for {names[other]} or the other way "
        "round, and training rotates images by quarter turns"
    )
    return Finding("orientation", evidence, "Set training.rotate_90 to false")


def _shortcut(attributes: Mapping[str, Sequence[tuple[str, str]]]) -> Finding | None:
    """Something other than what the image shows that gives the class away."""
    for name, pairs in attributes.items():
        classes = Counter(label for _, label in pairs)
        by_value = Counter(pairs)
        best: dict[str, int] = {}
        for (value, _), count in by_value.items():
            best[value] = max(best.get(value, 0), count)
        frequent = {v for v, n in Counter(value for value, _ in pairs).items() if n >= _ENOUGH}
        guessed = sum(count for value, count in best.items() if value in frequent) / len(pairs)
        majority = max(classes.values()) / len(pairs)
        if guessed > majority + 0.6 * (1 - majority):
            evidence = (
                f"the {name} of a file alone gives the right class in {guessed:.0%} of cases "
                f"(always the largest class: {majority:.0%})"
            )
            advice = f"Take images whose {name} does not depend on the class, or make it equal"
            return Finding("shortcut", evidence, advice)
    return None
