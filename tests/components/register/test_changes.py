"""Which answers differ from the champion's, counted and written down."""

import numpy as np

from components.core.evaluation.predictions import Predictions
from components.io.reports.decision import Change
from components.io.reports.version import Changes
from components.register import changes

NAMES = ["cat", "dog"]
HEADER = "change,path,label,champion,model\n"


def answers(predicted: list[int]) -> Predictions:
    """Answers to five pictures, of a cat, a cat and three dogs; each 0.75 sure."""
    given = np.array(predicted)
    return Predictions(
        class_names=NAMES,
        paths=[f"{k},0.png" for k in range(5)],
        groups=[str(k) for k in range(5)],
        labels=np.array([0, 0, 1, 1, 1]),
        predicted=given,
        probabilities=np.where(np.eye(2)[given] > 0, 0.75, 0.25),
    )


OURS, THEIRS = answers([1, 0, 1, 0, 0]), answers([0, 1, 1, 1, 0])


def test_only_images_that_one_of_the_two_answers_correctly_are_found_by_kind_and_path() -> None:
    assert changes.find(OURS, THEIRS) == [
        Change("newly wrong", "0,0.png", "cat", "cat", "dog", 0.75),
        Change("newly wrong", "3,0.png", "dog", "dog", "cat", 0.75),
        Change("newly right", "1,0.png", "cat", "dog", "cat", 0.75),
    ]


def test_each_kind_is_counted() -> None:
    assert changes.count(changes.find(OURS, THEIRS)) == Changes(newly_wrong=2, newly_right=1)
    assert changes.count([]) == Changes(0, 0)


def test_without_a_comparison_nothing_changed_and_the_table_is_only_a_header() -> None:
    assert changes.find(OURS, None) == []
    assert changes.to_csv([]) == HEADER


def test_the_table_has_one_line_for_each_change() -> None:
    assert changes.to_csv(changes.find(OURS, THEIRS)) == HEADER + (
        'newly wrong,"0,0.png",cat,cat,dog\n'
        'newly wrong,"3,0.png",dog,dog,cat\n'
        'newly right,"1,0.png",cat,dog,cat\n'
    )
