"""What mistakes say about the data, on predictions with the fault and on such without it."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.core.evaluation.mistakes import diagnose_mistakes
from components.core.evaluation.predictions import Predictions
from tests import factories

SAME = {"format": [("PNG", "class 0"), ("PNG", "class 1")] * 20}


def kinds(
    found: Predictions,
    counts: Mapping[str, int] | None = None,
    attributes: Mapping[str, Sequence[tuple[str, str]]] = SAME,
    *,
    rotate_90: bool = False,
) -> list[str]:
    even = counts or dict.fromkeys(found.class_names, 100)
    findings = diagnose_mistakes(found, even, attributes, rotate_90=rotate_90)
    return [finding.kind for finding in findings]


def sure(confusion: list[list[int]], wrong: float, right: float = 0.9) -> Predictions:
    """Predictions with this confidence where they are wrong, and that one where they are right."""
    found = factories.predictions_of(confusion)
    classes = len(confusion)
    confidence = np.where(found.correct, right, wrong)
    found.probabilities[:] = ((1 - confidence) / (classes - 1))[:, None]
    found.probabilities[np.arange(len(confidence)), found.predicted] = confidence
    return found


def test_mistakes_as_confident_as_hits_are_wrong_labels() -> None:
    noisy = [[40, 3, 2], [3, 40, 2], [2, 3, 40]]
    assert kinds(sure(noisy, wrong=0.9)) == ["label noise"]
    assert kinds(sure(noisy, wrong=0.5)) == [], "hard images: confidence tells them apart"
    assert kinds(sure(noisy, wrong=0.55, right=0.6)) == [], "nothing is certain here"
    assert kinds(sure([[40, 2], [1, 40]], wrong=0.9)) == [], "three mistakes say nothing"
    assert kinds(sure([[20, 20], [20, 20]], wrong=0.9)) == [], "it has learned nothing"


def test_rare_classes_that_are_missed() -> None:
    found = sure([[90, 5, 5], [40, 10, 0], [30, 0, 20]], wrong=0.5)
    rare = {"class 0": 400, "class 1": 20, "class 2": 30}
    assert kinds(found, rare) == ["imbalance"]
    assert kinds(found, {"class 0": 90, "class 1": 30, "class 2": 40}) == []
    good = sure([[90, 5, 5], [4, 46, 0], [3, 0, 47]], wrong=0.5)
    assert kinds(good, rare) == []


def test_two_classes_that_a_rotation_makes_equal() -> None:
    found = sure([[20, 18, 1], [19, 20, 0], [1, 0, 40]], wrong=0.5)
    assert kinds(found, rotate_90=True) == ["orientation"]
    assert kinds(found) == [], "nothing was rotated"
    spread = sure([[20, 8, 9], [8, 20, 9], [9, 8, 20]], wrong=0.5)
    assert kinds(spread, rotate_90=True) == []
    assert kinds(sure([[9, 9], [9, 9]], wrong=0.5), rotate_90=True) == [], "of two classes any pair"


def test_an_attribute_that_gives_the_class_away() -> None:
    found = sure([[20, 1], [1, 20]], wrong=0.5)
    by_class = [("PNG", "class 0"), ("JPEG", "class 1")] * 20
    assert kinds(found, attributes={"format": by_class}) == ["shortcut"]
    mixed = [*by_class[:10], *SAME["format"]]
    assert kinds(found, attributes={"format": mixed}) == []
    unique = [(str(k), f"class {k % 2}") for k in range(40)]
    assert kinds(found, attributes={"size": unique}) == [], "one value each says nothing"
