"""The tiers at their borders, and what explicit names and random weights change."""

from typing import get_args

import pytest

from components.core.training.presets import RANDOM_WEIGHTS, Augmentation, choose_preset


@pytest.mark.parametrize(
    ("images", "tier"),
    [
        (1, "tiny"),
        (99, "tiny"),
        (100, "small"),
        (999, "small"),
        (1_000, "medium"),
        (9_999, "medium"),
        (10_000, "large"),
        (1_000_000, "large"),
    ],
)
def test_the_number_of_training_images_picks_the_tier(images: int, tier: str) -> None:
    assert choose_preset("auto", images, "imagenet").tier == tier


@pytest.mark.parametrize(
    ("tier", "rate", "epochs", "batch_size", "augmentation"),
    [
        ("tiny", 1e-5, (30, 50), 4, "maximum"),
        ("small", 5e-5, (15, 25), 16, "heavy"),
        ("medium", 7e-5, (5, 15), 32, "standard"),
        ("large", 1e-4, (3, 10), 64, "light"),
    ],
)
def test_each_tier_has_its_settings(
    tier: str, rate: float, epochs: tuple[int, int], batch_size: int, augmentation: str
) -> None:
    preset = choose_preset(tier, 5, "imagenet")
    assert (preset.learning_rate, preset.epochs) == (rate, epochs)
    assert (preset.batch_size, preset.augmentation) == (batch_size, augmentation)


@pytest.mark.parametrize("tier", ["tiny", "small", "medium", "large"])
@pytest.mark.parametrize("weights", ["imagenet", "random", "weights/mine.pth"])
def test_every_default_lies_inside_its_own_range_and_the_platforms(tier: str, weights: str) -> None:
    preset = choose_preset(tier, 5, weights)
    low, high = preset.learning_rates
    assert low <= preset.learning_rate <= high
    assert weights == "random" or 1e-5 <= low < high <= 1e-3
    assert 1 <= preset.epochs[0] < preset.epochs[1] <= 50
    assert 1 <= preset.batch_size <= 128
    assert preset.augmentation in get_args(Augmentation)


def test_random_weights_move_the_learning_rates_and_nothing_else() -> None:
    random, imagenet = (choose_preset("auto", 500, w) for w in ("random", "imagenet"))
    assert (random.learning_rate, random.learning_rates) == RANDOM_WEIGHTS
    assert random.learning_rates != imagenet.learning_rates
    assert (random.tier, random.epochs, random.batch_size, random.augmentation) == (
        imagenet.tier,
        imagenet.epochs,
        imagenet.batch_size,
        imagenet.augmentation,
    )


def test_the_reason_says_why_in_words() -> None:
    assert choose_preset("auto", 1_556, "random").reason == "1,556 training images, below 10,000"
    assert choose_preset("auto", 20_000, "random").reason == (
        "20,000 training images, 10,000 or more"
    )
    assert choose_preset("large", 5, "imagenet").reason == "set in params.yaml"
