"""Each finding on a training that has its fault, and none on one that has not.

The curves are those of trainings of bench/diagnosis.py, rounded; that runs all of them for real.
"""

from typing import Any

import pytest

from components.core.evaluation.diagnosis import TrainingFacts, diagnose, training_facts


def facts(train: list[float], val: list[float], **changes: Any) -> TrainingFacts:
    """Ten classes of 60 images, with the settings that are usual for so many."""
    values: dict[str, Any] = {
        "history": [
            {"train_loss": t, "val_loss": v, "val_accuracy": 0.5}
            for t, v in zip(train, val, strict=True)
        ],
        "planned_epochs": len(train),
        "class_counts": [60] * 10,
        "learning_rate": 2e-3,
        "usual_rates": (1e-4, 5e-3),
        "usual_epochs": (8, 25),
        "augmentation": "light",
        "usual_augmentation": "light",
        "label_smoothing": 0.0,
    }
    return TrainingFacts(**values | changes)


def falling(first: float, last: float, epochs: int) -> list[float]:
    """Quickly at first, hardly at the end."""
    return [last + (first - last) * 0.5**k for k in range(epochs)]


HEALTHY = (falling(2.2, 0.1, 12), falling(2.0, 0.15, 12))
STUCK = (falling(2.4, 1.9, 12), falling(2.3, 2.0, 12))
LEARNED_BY_HEART = (
    falling(2.2, 0.01, 20),
    [*falling(2.2, 1.4, 8), *[1.5 + 0.05 * k for k in range(12)]],
)
LATE = ([*STUCK[0][:8], 1.7, 1.5, 1.3, 1.1], [*STUCK[1][:8], 1.8, 1.5, 1.2, 0.9])


def kinds(found: TrainingFacts) -> list[str]:
    return [finding.kind for finding in diagnose(found)]


@pytest.mark.parametrize(
    ("curves", "changes", "kind"),
    [
        (STUCK, {"learning_rate": 0.05}, "learning rate too high"),
        (([2.2, 2.9, 0.6], [2.0, 30.0, 0.9]), {"learning_rate": 0.05}, "learning rate too high"),
        (STUCK, {"learning_rate": 1e-6}, "learning rate too low"),
        (([2.2, 1.8], [2.1, 1.8]), {}, "too short"),
        (([2.2], [2.1]), {}, "too short"),
        (LATE, {}, "too short"),
        (LEARNED_BY_HEART, {}, "overfitting"),
        (LEARNED_BY_HEART, {"augmentation": "heavy"}, "overfitting"),
        ((falling(2.2, 0.3, 12), [*falling(2.0, 0.3, 6), *[0.45] * 6]), {}, "overfitting"),
        (STUCK, {"augmentation": "maximum"}, "underfitting"),
        (([2.3 - 0.03 * k for k in range(12)], [2.2] * 12), {}, "underfitting"),
        (STUCK, {}, "data harder than the model"),
        ((falling(2.2, 0.7, 20), [*falling(2.0, 0.9, 6), *[0.9] * 14]), {}, "plateau"),
    ],
)  # fmt: skip
def test_each_fault_of_a_curve_is_named_first(
    curves: tuple[list[float], list[float]], changes: dict[str, Any], kind: str
) -> None:
    found = facts(*curves, **changes)
    assert kinds(found)[:1] == [kind]
    text = str(diagnose(found)[0])
    assert text.startswith(f"{kind}: ")
    assert text.count(". ") == 1, "evidence, then one next step"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_smoothing": 0.1, "history": [
            {"train_loss": t + 0.5, "val_loss": v} for t, v in zip(*HEALTHY, strict=True)]},
        {"learning_rate": 1e-6},
        {"learning_rate": 0.05},
        {"class_counts": [600] * 9 + [10]},
        {"read_share": 0.3},
    ],
)  # fmt: skip
def test_a_training_that_went_well_is_not_accused(changes: dict[str, Any]) -> None:
    assert kinds(facts(*HEALTHY, **changes)) == []


def test_what_the_data_lack_is_named_beside_the_curve() -> None:
    found = facts(*LEARNED_BY_HEART, class_counts=[8] * 10, read_share=0.7)
    assert kinds(found) == ["overfitting", "too few images", "loader-bound"]
    assert "the smallest class has 8 training images" in str(diagnose(found)[1])
    assert "70% of the time goes into reading images" in str(diagnose(found)[2])


def test_advice_is_one_setting() -> None:
    advice = {
        level: diagnose(facts(*LEARNED_BY_HEART, augmentation=level))[0].advice
        for level in ("light", "heavy")
    }
    assert advice["light"] == "Set training.augmentation to standard"
    assert advice["heavy"].startswith("Collect more images, or halve train.epochs")
    (short,) = diagnose(facts([2.2, 1.8], [2.1, 1.8]))
    assert short.advice == "Set train.epochs to 4"


def test_facts_are_read_from_what_a_training_leaves() -> None:
    history = [{"train_loss": 2.0, "val_loss": 2.0, "read_share": share} for share in (0.2, 0.4)]
    settings = {
        "epochs": 2, "learning_rate": 3e-4, "augmentation": "standard", "label_smoothing": 0.1,
    }  # fmt: skip
    found = training_facts(history, settings, [300, 200], "random")
    assert (found.usual_epochs, found.usual_augmentation) == ((15, 25), "heavy")
    assert found.usual_rates == (1e-4, 5e-3)
    assert found.read_share == pytest.approx(0.3)
    old = [{"train_loss": 2.0, "val_loss": 2.0}]
    assert training_facts(old, settings, [300, 200], "imagenet").read_share is None
