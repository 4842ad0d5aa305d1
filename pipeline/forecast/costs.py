"""Time and memory of each step, from what it has to do and how fast this machine is.

Values in, values out. What grows with the data is measured on this machine (`Speeds`); what does
not (imports, MLflow, figures) is known from runs of the whole pipeline, in seconds of one machine,
and scaled by how fast this one runs Python: docs/decisions/0073-what-a-run-will-cost.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components import STEPS

# Seconds of the reference machine that do not grow with the data, and MiB beside the measured.
_FIXED = {
    "validate": (4.0, 330.0),
    "tune": (8.0, 128.0),
    "train": (7.0, 47.0),
    "evaluate": (5.2, 225.0),
    "register": (10.5, 955.0),
}
_TRIAL_SECONDS = 0.3  # a network, its optimizer, a run in MLflow
_FILE_KIB = 4.0  # a file in the tables of validate
_FILE_SECONDS = 2.5e-4  # the same
_IMAGE_SECONDS = 1.2e-4  # an image that train hashes again
_TIMED_IMAGES = 55  # evaluate times so many images one by one
_PRUNED = 1 / 8  # every second trial is pruned at three quarters
_SHORTEST = 3 / 4  # of a trial that is pruned


class Span(NamedTuple):
    """Seconds, where something that a run finds out decides: between low and high."""

    low: float
    likely: float
    high: float


class StepCost(NamedTuple):
    """What a step will cost.

    Attributes:
        step: its name.
        seconds: from its begin to its end.
        mib: most memory of its process.
        epochs: fewest and most, where the run decides; else None.
    """

    step: str
    seconds: Span
    mib: float
    epochs: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the steps have to do.

    Attributes:
        new: files that validate decodes.
        known: files that it has decoded in an earlier run.
        train: images.
        val: images.
        test: images.
        trial: images that a trial learns from.
        first_trials: epochs of the trials that are not left to the sampler.
        trial_epochs: fewest and most of the others.
        num_trials: at most.
        timeout_seconds: of the study; its first trial always completes.
        epochs: fewest, likely and most of train.
        image_size: side of the decoded pixels.
        streamed: they do not fit the cache, and are decoded in every epoch.
        champion: is evaluated on the test images, too.
    """

    new: int
    known: int
    train: int
    val: int
    test: int
    trial: int
    first_trials: tuple[int, ...]
    trial_epochs: tuple[int, int]
    num_trials: int
    timeout_seconds: float
    epochs: tuple[int, int, int]
    image_size: int
    streamed: bool
    champion: bool


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """How fast this machine is, in seconds; and the memory that the work took, in MiB.

    Attributes:
        new_file: of validate, all cores together.
        known_file: the same for bytes that it has seen before.
        decode: an image into the cache of pixels.
        predict: an image, as evaluate predicts.
        predict_alone: an image by itself.
        trial_image: an image of a training at the size of trials.
        trial_val: an image of val there.
        train_image: an image of a training.
        train_val: an image of val there.
        small_batch: an image of a training in batches of 8; None = not measured.
        checkpoint: the state of a training, saved once.
        scale: how long fixed work takes, against the reference machine.
        scan_mib: what validate's reading adds.
        predict_mib: peak of a process that predicts.
        trial_mib: peak of a process that runs trials.
        train_mib: peak of a process that trains.
        batch_size: that was asked for, auto resolved.
        augmentation: the same.
        device: cpu or cuda.
        gpu_gib: memory of the GPU; None = there is none.
        busy_cores: kept busy by others meanwhile.
    """

    new_file: float
    known_file: float
    decode: float
    predict: float
    predict_alone: float
    trial_image: float
    trial_val: float
    train_image: float
    train_val: float
    small_batch: float | None
    checkpoint: float
    scale: float
    scan_mib: float
    predict_mib: float
    trial_mib: float
    train_mib: float
    batch_size: int
    augmentation: str
    device: str
    gpu_gib: float | None
    busy_cores: float


def step_costs(work: Work, speeds: Speeds) -> list[StepCost]:
    """Every step, in order."""
    seconds = {
        "validate": _same(_validate(work, speeds)),
        "tune": _tune(work, speeds),
        "train": _train(work, speeds),
        "evaluate": _same(_evaluate(work, speeds)),
        "register": _same(work.test * speeds.predict * work.champion),
    }
    mib = _memory(work, speeds)
    fewest, _, most = work.epochs
    found = []
    for step in STEPS:
        fixed, base = _FIXED[step]
        times = Span(*(fixed * speeds.scale + each for each in seconds[step]))
        epochs = (fewest, most) if step == "train" and fewest < most else None
        found.append(StepCost(step, times, base + mib[step], epochs))
    return found


def total(costs: Sequence[StepCost]) -> StepCost:
    """The whole run: all times, and the largest memory."""
    times = (sum(each) for each in zip(*(cost.seconds for cost in costs), strict=True))
    return StepCost("total", Span(*times), max(cost.mib for cost in costs))


def _same(seconds: float) -> Span:
    return Span(seconds, seconds, seconds)


def _validate(work: Work, speeds: Speeds) -> float:
    tables = _FILE_SECONDS * speeds.scale * (work.new + work.known)
    return work.new * speeds.new_file + work.known * speeds.known_file + tables


def _tune(work: Work, speeds: Speeds) -> Span:
    """Trials until all are done or the time is up, whichever comes first."""
    reading = work.streamed * speeds.decode
    epoch = work.trial * (speeds.trial_image + reading) + work.val * (speeds.trial_val + reading)
    first, (fewest, most) = work.first_trials[: work.num_trials], work.trial_epochs
    others = work.num_trials - len(first)
    spans = (
        _SHORTEST * (sum(first[1:]) + others * fewest),
        (1 - _PRUNED) * (sum(first[1:]) + others * log_mean(fewest, most)),
        sum(first[1:]) + others * most,
    )
    overhead = _TRIAL_SECONDS * speeds.scale * work.num_trials
    alone = first[0] * epoch
    decoded = (work.train + work.val) * speeds.decode
    return Span(
        *(
            decoded + max(alone, min(alone + epochs * epoch + overhead, work.timeout_seconds))
            for epochs in spans
        )
    )


def log_mean(low: float, high: float) -> float:
    """Mean of a number that is drawn evenly on a logarithmic scale."""
    return low if low == high else (high - low) / math.log(high / low)


def _train(work: Work, speeds: Speeds) -> Span:
    reading = work.streamed * speeds.decode
    epoch = work.train * (speeds.train_image + reading) + work.val * (speeds.train_val + reading)
    hashed = _IMAGE_SECONDS * speeds.scale * (work.train + work.val)
    return Span(*(hashed + epochs * (epoch + speeds.checkpoint) for epochs in work.epochs))


def _evaluate(work: Work, speeds: Speeds) -> float:
    alone = speeds.predict_alone + speeds.decode
    return work.test * (speeds.decode + speeds.predict) + _TIMED_IMAGES * alone


def _memory(work: Work, speeds: Speeds) -> dict[str, float]:
    """MiB of each step beside what is fixed; pages of the pixel cache count, too."""
    image = 0 if work.streamed else 3 * work.image_size**2 / 2**20
    return {
        "validate": speeds.scan_mib + _FILE_KIB / 1024 * (work.new + work.known),
        "tune": speeds.trial_mib + image * (work.trial + work.val),
        "train": speeds.train_mib + image * (work.train + work.val),
        "evaluate": speeds.predict_mib + image * work.test,
        "register": image * work.test * work.champion,
    }
