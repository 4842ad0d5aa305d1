"""Which predictions differ from the champion's."""

import numpy as np

from components.core.evaluation.changes import Change, find_changes
from components.core.evaluation.predictions import Predictions


def predictions(predicted: list[int]) -> Predictions:
    """Of five images: two cats and three dogs; each with confidence 0.75."""
    classes = np.array(predicted)
    return Predictions(
        class_names=["cat", "dog"],
        paths=[f"{k},0.png" for k in range(5)],
        groups=[str(k) for k in range(5)],
        labels=np.array([0, 0, 1, 1, 1]),
        predicted=classes,
        probabilities=np.where(np.eye(2)[classes] > 0, 0.75, 0.25),
    )


MODEL, CHAMPION = predictions([1, 0, 1, 0, 0]), predictions([0, 1, 1, 1, 0])


def test_only_images_that_one_of_the_two_gets_right_are_found_by_kind_and_path() -> None:
    assert find_changes(MODEL, CHAMPION) == [
        Change("newly wrong", "0,0.png", "cat", "cat", "dog", 0.75),
        Change("newly wrong", "3,0.png", "dog", "dog", "cat", 0.75),
        Change("newly right", "1,0.png", "cat", "dog", "cat", 0.75),
    ]


def test_without_a_comparison_nothing_changed() -> None:
    assert find_changes(MODEL, None) == []
