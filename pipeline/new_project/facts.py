"""What choices are made from, and what a choice is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.core.gate.policy import GatePolicy

# Exact duplicates are dropped and groups stay whole, so a split may miss its share by as much.
CERTAIN = 0.8


class Choice(NamedTuple):
    """A setting.

    Attributes:
        key: dotted name in params.yaml.
        value: as it is read from there; None = null. Of a section it is no value, but SECTION.
        reason: why, in one or two short clauses.
    """

    key: str
    value: object
    reason: str


SECTION = object()  # the choice only says something about the settings below


@dataclass(frozen=True)
class Data:
    """What is known of the images.

    Attributes:
        train: expected training images of each class.
        test: expected test images of each class.
        images: of each class, all splits together.
        sizes: width and height of some images, at least one.
        test_share: `validate.split.test`; None = the split is ready-made.
    """

    train: Mapping[str, int]
    test: Mapping[str, int]
    images: Mapping[str, int]
    sizes: Sequence[tuple[int, int]]
    test_share: float | None


@dataclass(frozen=True)
class Machine:
    """What is known of the machine.

    Attributes:
        cpus: that this process may use.
        gpu: whether it has a usable one.
        imagenet: whether the ImageNet weights of the architecture are at hand.
    """

    cpus: int
    gpu: bool
    imagenet: bool


@dataclass(frozen=True)
class Current:
    """What params.yaml says now, where a choice depends on it."""

    architecture: str
    weights: str
    gate: GatePolicy


def rarest_of(counts: Mapping[str, int]) -> tuple[str, int]:
    """The class with the fewest images, and how many these are."""
    return min(counts.items(), key=lambda item: (item[1], item[0]))
