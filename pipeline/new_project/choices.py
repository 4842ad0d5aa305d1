"""Settings for a data set and a machine, each with its reason. Values in, values out.

What the data say nothing about is not here: it stays as params.yaml has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from components.core.training.presets import choose_preset
from pipeline.new_project.facts import CERTAIN, Choice, Current, Data, Machine, rarest_of
from pipeline.new_project.gate_choices import choose_bounds

# Of a ResNet-18 at 128 px, images a second: docs/decisions/0003 (41 on two cores); a GPU is
# taken for ten times as fast as a dozen cores, which only sets time limits.
_CORE_SPEED, _GPU_SPEED = 20.0, 2_500.0

# Seconds that a training may take before larger images are not worth it without a GPU.
_PATIENCE = 1_800
_TUNING_SECONDS = (60, 1_800)
_TRIAL_IMAGES = 2_500
_CLASS_IMAGES = 20  # of the rarest class in a trial

# Bounds that any data set should meet that is large enough to.
_MIN_IMAGES, _MIN_IMAGES_PER_CLASS, _MIN_SIDE = 100, 20, 8

_KINDS_OF_WEIGHTS = ("imagenet", "random")  # anything else is a file


def choose(name: str, data: Data, machine: Machine, current: Current) -> list[Choice]:
    """All settings that depend on the data or the machine, in the order of params.yaml.

    Args:
        name: of the registered model.
        data: what is known of the images.
        machine: where they will be trained.
        current: what params.yaml says now.
    """
    weights = _weights(machine, current)
    size = _image_size(data, machine, current, str(weights.value))
    return [
        _resize_mode(data),
        *([weights] if current.weights in _KINDS_OF_WEIGHTS else []),
        size,
        *_validation(data),
        *_training(data, str(weights.value)),
        *_tuning(data, machine, current, size, str(weights.value)),
        Choice("register.model_name", name, "as given to init"),
        *choose_bounds(data, current.gate),
    ]


def _resize_mode(data: Data) -> Choice:
    long = sum(max(size) > 2 * min(size) for size in data.sizes)
    if 10 * long > len(data.sizes):
        share = f"{100 * long / len(data.sizes):.0f} %"
        return Choice(
            "data.resize_mode", "pad", f"{share} of the images are longer than 2 : 1; crop cuts"
        )
    return Choice(
        "data.resize_mode", "crop", "crop | pad | stretch; few images are longer than 2 : 1"
    )


def _weights(machine: Machine, current: Current) -> Choice:
    key = "model.weights"
    if current.weights not in _KINDS_OF_WEIGHTS:
        return Choice(key, current.weights, "a file of the user's, which stays")
    if machine.imagenet:
        return Choice(
            key,
            "imagenet",
            "imagenet | random | a file; imagenet is in torchvision's cache on this machine",
        )
    return Choice(
        key,
        "random",
        "imagenet | random | a file; imagenet is better below some 10,000 images, but is not in "
        "torchvision's cache here: write imagenet, and the next run downloads it",
    )


def _image_size(data: Data, machine: Machine, current: Current, weights: str) -> Choice:
    key, side = "model.image_size", int(median(min(size) for size in data.sizes))
    found = f"the median shorter side is {side:,} px"
    if current.architecture.startswith("vit"):
        return Choice(key, 224, f"{current.architecture} takes no other; {found}")
    for limit, size in ((64, 64), (112, 96), (192, 128)):
        if side <= limit:
            return Choice(key, size, found)
    if machine.gpu:
        return Choice(key, 224, f"{found}, and there is a GPU")
    seconds = _training_seconds(data, machine, 224, weights)
    if weights != "random" and seconds <= _PATIENCE:
        return Choice(key, 224, f"{found}; a training takes about {_minutes(seconds)}")
    return Choice(
        key, 128, f"{found}; 224 without a GPU: about {_minutes(seconds)} for a training, 3x of 128"
    )


def _validation(data: Data) -> Iterator[Choice]:
    total, (rarest, fewest) = sum(data.images.values()), rarest_of(data.images)
    most = max(1, math.floor(CERTAIN * total))
    yield Choice("validate.min_images", min(_MIN_IMAGES, most), f"{total:,} files were found")
    usual, most = _MIN_IMAGES_PER_CLASS, max(3, math.floor(CERTAIN * fewest))
    reason = f"{rarest} has {fewest:,} files"
    if most < usual:
        reason += f", too few to learn much from; collect {usual} or more"
    yield Choice("validate.min_images_per_class", min(usual, most), reason)
    side = min(min(size) for size in data.sizes)
    reason = f"pixels; the smallest side seen is {side:,} px"
    yield Choice("validate.min_side", max(1, min(_MIN_SIDE, side)), reason)


def _training(data: Data, weights: str) -> Iterator[Choice]:
    preset = choose_preset("auto", sum(data.train.values()), weights)
    yield Choice(
        "training.augmentation",
        "auto",
        f"auto = the preset's, here {preset.augmentation} ({preset.tier}: {preset.reason})",
    )
    reason = "true | false | auto; auto = tune compares both: a mirrored arrow is another class"
    yield Choice("training.horizontal_flip", "auto", reason)
    reason = 'set true where images have no fixed "up" (parts, cells, aerial views)'
    yield Choice("training.rotate_90", False, reason)
    largest, smallest = max(data.train.values()), max(1, min(data.train.values()))
    ratio = largest / smallest
    yield Choice(
        "training.class_weights",
        "none" if ratio <= 1.5 else "sqrt",
        f"none | sqrt | balanced; the largest class is {ratio:.1f} times the smallest",
    )


def _tuning(
    data: Data, machine: Machine, current: Current, chosen: Choice, weights: str
) -> Iterator[Choice]:
    size = chosen.value
    assert isinstance(size, int)
    total, fewest = sum(data.train.values()), max(1, min(data.train.values()))
    seconds = _training_seconds(data, machine, size, weights)
    shortest, longest = _TUNING_SECONDS
    limit = 10 * math.ceil(min(max(seconds, shortest), longest) / 10)
    where = "GPU" if machine.gpu else f"{machine.cpus} CPUs"
    yield Choice("tune.num_trials", 20 if machine.gpu else 8, f"for {where}; more find better")
    yield Choice(
        "tune.timeout_seconds",
        limit,
        f"a training alone takes about {_minutes(seconds)} here; the first trial always completes",
    )
    epochs = choose_preset("auto", total, weights).epochs
    reason = f"auto = the preset's range, here {epochs[0]} to {epochs[1]}; or [low, high]"
    yield Choice("tune.epochs", "auto", reason)
    fixed = current.architecture.startswith("vit")
    small = size if fixed else min(size, max(64, size // 2 // 16 * 16))
    yield Choice("tune.image_size", small, "trials use smaller images where they can")
    share = 1.0
    if total >= 1_000:
        share = min(1.0, max(_TRIAL_IMAGES / total, _CLASS_IMAGES / fewest))
        share = math.ceil(1_000 * share) / 1_000
    yield Choice(
        "tune.train_fraction", share, f"a trial learns from about {share * total:,.0f} images"
    )


def _training_seconds(data: Data, machine: Machine, size: int, weights: str) -> float:
    images = sum(data.train.values())
    epochs = choose_preset("auto", images, weights).epochs
    speed = _GPU_SPEED if machine.gpu else _CORE_SPEED * machine.cpus
    return images * sum(epochs) / 2 * (size / 128) ** 2 / speed


def _minutes(seconds: float) -> str:
    return "a minute" if seconds < 90 else f"{math.ceil(seconds / 60):,} minutes"
