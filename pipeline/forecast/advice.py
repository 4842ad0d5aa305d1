"""Advice by the size of the data and of the machine: a table, and what it says here.

A setting is named where it asks for more than the data or the machine give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

# GiB of a GPU -> batches. A card has a little less than its name says.
_GPU_BATCHES = {4: (8, 16), 8: (32, 64), 16: (64, 128)}
_FULL = 0.9
_CPU_BATCHES = (4, 8)
_CLEARLY = 1.1

_FEW_IMAGES = 100
# Network -> more images than that pay for it, on a GPU.
_LARGE = {"resnet50": 1_000, "resnet101": 1_000, "resnet152": 1_000, "vit_b_16": 5_000}
_CONSIDERED = ("resnet50", "vit_b_16")
_EDGE_MB, _EDGE = 10.0, "mobilenet_v3_small"


class Advice(NamedTuple):
    """One sentence.

    Attributes:
        text: what the table says here.
        setting: that would follow it; empty = the settings do.
    """

    text: str
    setting: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What advice depends on.

    Attributes:
        train: training images.
        architecture: `model.architecture`.
        batch_size: auto resolved.
        augmentation: auto resolved.
        max_model_mb: of the gate; None = no bound.
        gpu_gib: memory of the GPU; None = a CPU trains.
        train_image: seconds a training image at that batch size.
        small_batch: the same in batches of 8; None = not measured.
    """

    train: int
    architecture: str
    batch_size: int
    augmentation: str
    max_model_mb: float | None
    gpu_gib: float | None
    train_image: float
    small_batch: float | None


def advise(facts: Facts) -> list[Advice]:
    """What applies to these data and this machine."""
    return [*_batch(facts), *_augmentation(facts), *_architecture(facts)]


def _batch(facts: Facts) -> Iterator[Advice]:
    batch = facts.batch_size
    if facts.gpu_gib is not None:
        fitting = [each for each in _GPU_BATCHES if facts.gpu_gib >= _FULL * each]
        low, high = _GPU_BATCHES[max(fitting, default=min(_GPU_BATCHES))]
        text = f"a GPU of {facts.gpu_gib:.0f} GiB takes batches of {low} to {high}, here {batch}"
        yield Advice(text, f"training.batch_size: {high}" if batch > high else "")
        return
    low, high = _CPU_BATCHES
    text = f"a CPU takes batches of {low} to {high} or what is faster, here {batch}"
    if facts.small_batch is None:
        yield Advice(text)
        return
    at_8, here = 1 / facts.small_batch, 1 / facts.train_image
    measured = f"{text}: {_rate(here)} images/s, in batches of {high} {_rate(at_8)}"
    yield Advice(measured, f"training.batch_size: {high}" if at_8 > _CLEARLY * here else "")


def _rate(speed: float) -> str:
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"


def _augmentation(facts: Facts) -> Iterator[Advice]:
    if facts.train >= _FEW_IMAGES:
        return
    setting = "" if facts.augmentation == "maximum" else "training.augmentation: maximum"
    yield Advice(f"{facts.train} training images ask for maximum augmentation", setting)


def _architecture(facts: Facts) -> Iterator[Advice]:
    name, gpu = facts.architecture, facts.gpu_gib is not None
    images = f"{facts.train:,} training images"
    if facts.max_model_mb is not None and facts.max_model_mb <= _EDGE_MB:
        text = f"below {_EDGE_MB:.0f} MB (register.gate.max_model_mb) is {_EDGE}"
        yield Advice(text, "" if name == _EDGE else f"model.architecture: {_EDGE}")
        return
    least = _LARGE.get(name, 0)
    if least and not (gpu and facts.train > least):
        here = f"here are {images} and {'a' if gpu else 'no'} GPU"
        yield Advice(
            f"{name} is for a GPU and more than {least:,} training images, {here}",
            "model.architecture: resnet18",
        )
        return
    larger = [other for other in _CONSIDERED if least < _LARGE[other] < facts.train]
    if gpu and larger:
        yield Advice(f"{images} and a GPU: consider {larger[-1]}")
