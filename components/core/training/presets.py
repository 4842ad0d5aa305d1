"""Good starting settings by the size of the training split; explicit settings always win.

The tiers, learning rates, epochs, batch sizes and augmentation strengths are the common ranges for
fine-tuning ResNet-18 from ImageNet weights. Random initial weights need larger steps: their own
range of learning rates is RANDOM_WEIGHTS (bench/tuning.py shows the default inside the flat part).
"""

from dataclasses import dataclass, replace
from typing import Literal

Augmentation = Literal["none", "light", "standard", "heavy", "maximum"]


@dataclass(frozen=True)
class Preset:
    """Settings for one size of data set. Ranges include both ends."""

    tier: str
    reason: str
    learning_rate: float
    learning_rates: tuple[float, float]
    epochs: tuple[int, int]
    batch_size: int
    augmentation: Augmentation


_TIERS: tuple[tuple[int, Preset], ...] = (
    (100, Preset("tiny", "", 1e-5, (1e-5, 1e-4), (30, 50), 4, "maximum")),
    (1_000, Preset("small", "", 5e-5, (1e-5, 5e-4), (15, 25), 16, "heavy")),
    (10_000, Preset("medium", "", 7e-5, (1e-5, 1e-3), (5, 15), 32, "standard")),
)
_LARGE = Preset("large", "", 1e-4, (1e-5, 1e-3), (3, 10), 64, "light")

# learning rate, (low, high): AdamW on a ResNet-18 that starts from nothing
RANDOM_WEIGHTS = (1e-3, (1e-4, 5e-3))


def choose_preset(name: str, num_train_images: int, weights: str) -> Preset:
    """The preset called `name`, or for "auto" the one for the size, with the reason in words.

    Args:
        name: `training.preset`.
        num_train_images: used images in the train split.
        weights: `model.weights`; "random" moves the learning rates to `RANDOM_WEIGHTS`.
    """
    preset = _by_size(num_train_images) if name == "auto" else _by_name(name)
    if weights == "random":
        best, bounds = RANDOM_WEIGHTS
        preset = replace(preset, learning_rate=best, learning_rates=bounds)
    return preset


def _by_size(num_train_images: int) -> Preset:
    for below, tier in _TIERS:
        if num_train_images < below:
            return replace(tier, reason=f"{num_train_images:,} training images, below {below:,}")
    return replace(_LARGE, reason=f"{num_train_images:,} training images, 10,000 or more")


def _by_name(name: str) -> Preset:
    presets = {preset.tier: preset for _, preset in _TIERS} | {"large": _LARGE}
    return replace(presets[name], reason="set in params.yaml")
