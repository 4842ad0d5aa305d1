import numpy as np
import pytest

from components.core.evaluation.agreement import Agreement, compare


def test_equal_predictions_agree() -> None:
    table = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    found = compare(table, table, np.array([0, 1, 1]))
    assert found == Agreement(3, 1.0, 0.0, 0.0)
    assert found.refusal == ""


def test_the_numbers_are_those_computed_by_hand() -> None:
    """Of 4 images one changes its label, from right to wrong.

    Macro F1 falls from 1 to (2 / 3 + 4 / 5) / 2: the other form has 1 of 2 images of class 0, and
    takes the other one for class 1.
    """
    first = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    second = np.array([[0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])
    found = compare(first, second, np.array([0, 0, 1, 1]))
    assert found.images == 4
    assert found.same_labels == 0.75
    assert found.macro_f1_loss == pytest.approx(1 - (2 / 3 + 4 / 5) / 2)
    assert found.max_probability_change == pytest.approx(0.3)
    assert found.refusal == (
        "75.00% of 4 images keep their label, 99.5% are wanted; macro F1 falls by 0.2667, 0.005 is "
        "allowed"
    )


@pytest.mark.parametrize(
    ("same", "loss", "refused"),
    [
        (0.995, 0.005, False),
        (0.9949, 0.0, True),
        (1.0, 0.0051, True),
        (1.0, -0.5, False),
        (float("nan"), 0.0, True),
        (1.0, float("nan"), True),
    ],
)
def test_the_bounds_are_those_of_the_promise(same: float, loss: float, refused: bool) -> None:
    assert bool(Agreement(1000, same, loss, 0.2).refusal) is refused
