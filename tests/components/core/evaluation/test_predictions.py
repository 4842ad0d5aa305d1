import numpy as np
import pytest

from components.core.evaluation.predictions import Predictions


def predictions() -> Predictions:
    return Predictions(
        class_names=["ant", "bee", "cat"],
        paths=["1", "2", "3"],
        groups=["1", "2", "3"],
        labels=np.array([0, 1, 2]),
        predicted=np.array([0, 2, 2]),
        probabilities=np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.0, 0.1, 0.9]]),
    )


def test_classes_are_aligned_by_name_not_by_position() -> None:
    turned = predictions().in_order_of(["cat", "ant", "bee"])

    assert turned.labels.tolist() == [1, 2, 0]
    assert turned.predicted.tolist() == [1, 0, 0]
    assert turned.probabilities[0].tolist() == [0.1, 0.6, 0.3]
    assert turned.correct.tolist() == predictions().correct.tolist() == [True, False, True]
    assert turned.paths == predictions().paths


def test_turning_there_and_back_changes_nothing() -> None:
    back = predictions().in_order_of(["bee", "cat", "ant"]).in_order_of(["ant", "bee", "cat"])
    assert back.labels.tolist() == predictions().labels.tolist()
    assert back.probabilities.tolist() == predictions().probabilities.tolist()


@pytest.mark.parametrize("names", [["ant", "bee"], ["ant", "bee", "dog"], []])
def test_other_classes_cannot_be_aligned(names: list[str]) -> None:
    with pytest.raises(ValueError, match="other classes"):
        predictions().in_order_of(names)
