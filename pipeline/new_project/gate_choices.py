"""Bounds of the gate that a good model can meet on the expected test images."""

from __future__ import annotations

import math
from collections.abc import Iterator

from components.core.gate.foresight import best_accuracy, images_needed, least_margin
from components.core.gate.policy import GatePolicy
from pipeline.new_project.facts import CERTAIN, SECTION, Choice, Data, rarest_of

# What is usual where there are images enough.
_MIN_TEST_IMAGES, _MIN_TEST_IMAGES_PER_CLASS = 200, 50
_MAX_ACCURACY, _MARGIN = 0.999, 0.05


def choose_bounds(data: Data, gate: GatePolicy) -> Iterator[Choice]:
    """The bounds, in the order of params.yaml; the other ones stay.

    Args:
        data: what is known of the images.
        gate: as it is; its confidence level counts.
    """
    total, classes = sum(data.test.values()), len(data.test)
    largest = max(data.test, key=lambda name: data.test[name])
    majority = data.test[largest] / max(total, 1)
    yield Choice(
        "register.gate",
        SECTION,
        "a value equal to its bound passes; null = no bound. These levels only refuse what is no "
        "better than guessing: raise them to what your product needs",
    )
    sure = max(1, math.floor(CERTAIN * total))
    most = _MAX_ACCURACY if sure >= 1_000 else None
    gate = gate.model_copy(update={"max_accuracy": most})
    yield _min_accuracy(gate, sure, majority, largest)
    baseline = 2 * majority / (1 + majority) / classes  # F1 of the one class that is answered
    reason = f"always answering {largest!r} has {baseline:.2f}"
    yield Choice("register.gate.min_macro_f1", _above(baseline), reason)
    reason = f"for every class; guessing among {classes:,} gets {1 / classes:.2f}"
    yield Choice("register.gate.min_class_recall", _rounded_up(1 / classes), reason)
    yield from _test_images(data, sure)
    reason = "higher is implausible: a person must look"
    if most is None:
        reason = "no bound: all right on few test images is not implausible"
    yield Choice("register.gate.max_accuracy", most, reason)
    yield _margin(gate, sure)


def _min_accuracy(gate: GatePolicy, sure: int, majority: float, largest: str) -> Choice:
    key, best, wished = "register.gate.min_accuracy", best_accuracy(gate, sure), _above(majority)
    reason = f"for the lower confidence bound; always answering {largest!r} has {majority:.2f}"
    if wished <= best - 0.02:
        return Choice(key, wished, reason)
    reason += f", and {sure:,} test images can show {best:.2f} at most: collect more"
    return Choice(key, max(0.0, math.floor(100 * best - 2) / 100), reason)


def _test_images(data: Data, sure: int) -> Iterator[Choice]:
    total, (rarest, fewest) = sum(data.test.values()), rarest_of(data.test)
    usual = _MIN_TEST_IMAGES
    reason = f"about {total:,} are expected"
    if sure < usual:
        reason += f"; {usual:,} take {_needed(usual, data)}"
    yield Choice("register.gate.min_test_images", min(usual, sure), reason)
    usual, most = _MIN_TEST_IMAGES_PER_CLASS, max(1, math.floor(CERTAIN * fewest))
    reason = f"about {fewest:,} of {rarest} are expected"
    if most < usual:
        reason += f"; {usual:,} take {_needed(usual, data)} of every class"
    yield Choice("register.gate.min_test_images_per_class", min(usual, most), reason)


def _margin(gate: GatePolicy, sure: int) -> Choice:
    key, usual = "register.gate.non_inferiority_margin", _MARGIN
    least = least_margin(gate.confidence_level, sure)
    reason = "accuracy that a non-inferior model may lose"
    if least <= usual:
        return Choice(key, usual, reason)
    reason += f"; less than {least:.2f} cannot be shown on {sure:,} test images"
    return Choice(key, min(1.0, _rounded_up(least)), reason)


def _needed(test_images: int, data: Data) -> str:
    if data.test_share is None:
        return f"{test_images:,} test images"
    return f"{images_needed(test_images, data.test_share):,} images"


def _above(share: float) -> float:
    return min(1.0, _rounded_up(share + 0.01))


def _rounded_up(share: float) -> float:
    # 0.3 + 0.01 is 0.31000000000000005
    return math.ceil(round(100 * share, 6)) / 100
