"""What train says about a training that fell short, on made-up outcomes."""

from typing import Any

import numpy as np
import pytest

from components.core.artifacts import Hyperparameters
from components.train.shortfalls import Outcome, find_shortfalls
from tests.factories import training_config

TRIAL: dict[str, Any] = {
    "learning_rate": 1e-3,
    "epochs": 3,
    "horizontal_flip": False,
    "val_loss": 0.8,
    "val_accuracy": 0.7,
    "image_size": 32,
    "num_train_images": 100,
    "study": "tune-test",
    "trials_complete": 1,
    "trials_pruned": 0,
    "trials_failed": 0,
    "data_digest": "d" * 64,
}


def shortfalls(
    val_loss: float, val_accuracy: float, trial: dict[str, Any] | None = None, **settings: Any
) -> dict[str, str]:
    outcome = Outcome(
        config=training_config(**settings),
        num_train_images=100,
        val_labels=np.array([0, 0, 0, 1, 1]),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        class_names=["cat", "dog"],
    )
    return find_shortfalls(outcome, Hyperparameters(**(TRIAL | (trial or {}))))


def test_a_training_as_good_as_its_search_has_none() -> None:
    assert shortfalls(0.8, 0.7) == {}
    assert shortfalls(0.5, 0.9) == {}


def test_a_higher_loss_than_the_best_trials_is_one_with_its_likely_reason() -> None:
    assert shortfalls(0.9, 0.65) == {
        "worse_than_best_trial": (
            "worse than the best trial: val/loss 0.900, accuracy 0.650; the trial had 0.800, "
            "0.700. Likely reasons: chance, if val is small: try another training.seed."
        )
    }


@pytest.mark.parametrize(
    ("settings", "trial", "reason"),
    [
        ({"learning_rate": 0.1}, {}, "learning_rate: set train.learning_rate to tuned"),
        ({"epochs": 9}, {}, "epochs: set train.epochs to tuned"),
        ({"image_size": 64}, {}, "images have 64 px here and had 32 px there: set tune.image_size"),
        ({}, {"num_train_images": 30}, "learned from 30 of 100 images: raise tune.train_fraction"),
    ],
)
def test_what_was_unlike_the_trial_is_named_as_the_reason(
    settings: dict[str, Any], trial: dict[str, Any], reason: str
) -> None:
    line = shortfalls(0.9, 0.65, trial, **settings)["worse_than_best_trial"]
    assert reason in line
    assert "chance" not in line
    assert "\n" not in line


@pytest.mark.parametrize(("accuracy", "short"), [(0.59, True), (0.6, True), (0.61, False)])
def test_one_answer_for_everything_is_what_a_training_must_exceed(
    accuracy: float, short: bool
) -> None:
    found = shortfalls(0.5, accuracy)
    assert bool(found) is short
    if short:
        line = found["not_better_than_majority_class"]
        assert line.startswith(
            f"no better than always answering 'cat': accuracy {accuracy:.3f} on val, of which "
            "0.600 is 'cat'. Likely reasons: too few epochs (3): "
        )
        assert "class_weights" not in line


def test_class_weights_are_a_reason_where_there_are_any() -> None:
    line = shortfalls(0.5, 0.2, class_weights=(0.5, 2.0))["not_better_than_majority_class"]
    assert line.endswith("rare classes count more: training.class_weights none favors accuracy.")
