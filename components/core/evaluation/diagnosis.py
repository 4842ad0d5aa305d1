"""What is wrong with a training, in words: evidence and one next step for each finding.

The rules go by what every run has: losses relative to those of guessing (ln K) and of a perfect fit
under label smoothing, where the best epoch lies, how the settings compare with the preset's for
data of this size, and which mistakes are made. Thresholds: bench/diagnosis.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.core.training.presets import Augmentation, choose_preset

LEVELS: tuple[Augmentation, ...] = ("none", "light", "standard", "heavy", "maximum")

_FEW_IMAGES = 40  # of the smallest class, in train
_SHOWN = 3


class Finding(NamedTuple):
    """Something to know about a run.

    Attributes:
        kind: its name, e.g. overfitting.
        evidence: what it was seen by.
        advice: the one thing to do next.
    """

    kind: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        """As one line."""
        return f"{self.kind}: {self.evidence}. {self.advice}."


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """A finished training.

    Attributes:
        history: an epoch each, with train_loss, val_loss and val_accuracy.
        planned_epochs: of the schedule.
        class_counts: training images of each class.
        learning_rate: highest of the schedule.
        usual_rates: range of the preset.
        usual_epochs: range of the preset.
        augmentation: level that was used.
        usual_augmentation: level of the preset.
        label_smoothing: of the loss.
        read_share: share of the time in which images were read; None = not measured.
    """

    history: Sequence[Mapping[str, float]]
    planned_epochs: int
    class_counts: Sequence[int]
    learning_rate: float
    usual_rates: tuple[float, float]
    usual_epochs: tuple[int, int]
    augmentation: Augmentation
    usual_augmentation: Augmentation
    label_smoothing: float
    read_share: float | None = None

    def series(self, name: str) -> list[float]:
        """One value per epoch."""
        return [epoch[name] for epoch in self.history]

    @property
    def chance(self) -> float:
        """Log loss of guessing evenly."""
        return math.log(len(self.class_counts))

    @property
    def unlearned(self) -> float:
        """Where the last train loss lies: 0 = a perfect fit, 1 = guessing."""
        floor = _smoothing_floor(self.label_smoothing, len(self.class_counts))
        return max(self.series("train_loss")[-1] - floor, 0.0) / (self.chance - floor)

    @property
    def val_level(self) -> float:
        """Where the lowest val loss lies: 0 = perfect, 1 = guessing."""
        return min(self.series("val_loss")) / self.chance

    @property
    def best_epoch(self) -> int:
        """Epoch of the lowest val loss, from 1."""
        losses = self.series("val_loss")
        return losses.index(min(losses)) + 1

    def late_fall(self, name: str) -> float:
        """By which share a loss fell in the last quarter of the epochs, one at least."""
        losses = self.series(name)
        back = max(1, len(losses) // 4) + 1
        return 1 - losses[-1] / losses[-back] if len(losses) > 1 else 0.0

    @property
    def is_short(self) -> bool:
        """Whether the schedule is shorter than the preset's."""
        return self.planned_epochs < self.usual_epochs[0]


def _smoothing_floor(smoothing: float, classes: int) -> float:
    """The lowest cross-entropy that is possible: the entropy of the smoothed target."""
    rest = smoothing / classes
    top = 1 - smoothing + rest
    return -sum(p * math.log(p) for p in (top, *[rest] * (classes - 1)) if p)


def training_facts(
    history: Sequence[Mapping[str, float]],
    settings: Mapping[str, object],
    class_counts: Sequence[int],
    weights: str,
) -> TrainingFacts:
    """The facts of a training from what it leaves.

    Args:
        history: rows of history.csv.
        settings: of the model card.
        class_counts: training images of each class.
        weights: initial ones: random, or anything else.
    """
    usual = choose_preset("auto", sum(class_counts), weights)
    shares = [epoch["read_share"] for epoch in history if "read_share" in epoch]
    return TrainingFacts(
        history=history,
        planned_epochs=int(str(settings["epochs"])),
        class_counts=class_counts,
        learning_rate=float(str(settings["learning_rate"])),
        usual_rates=usual.learning_rates,
        usual_epochs=usual.epochs,
        augmentation=next(level for level in LEVELS if level == settings["augmentation"]),
        usual_augmentation=usual.augmentation,
        label_smoothing=float(str(settings["label_smoothing"])),
        read_share=sum(shares) / len(shares) if shares else None,
    )


def diagnose(found: TrainingFacts) -> list[Finding]:
    """One to three findings about a training, the most important first; none for a healthy one."""
    by_curve = (rule(found) for rule in _CURVE_RULES)
    first = next((finding for finding in by_curve if finding), None)
    by_data = [finding for rule in _DATA_RULES if (finding := rule(found))]
    return [*([first] if first else []), *by_data][:_SHOWN]


def _rate_too_high(found: TrainingFacts) -> Finding | None:
    losses, high = found.series("train_loss"), found.usual_rates[1]
    worst = max(losses[1:], default=0.0) / losses[0]
    unstable = worst > 1.1 or max(found.series("val_loss")) > 3 * found.chance
    if found.learning_rate <= high or not (found.unlearned > 0.5 or unstable):
        return None
    evidence = (
        f"{found.learning_rate:.2g} is above the usual {found.usual_rates[0]:.0e} to {high:.0e}, "
        f"and the train loss ended at {losses[-1]:.2f} (guessing: {found.chance:.2f})"
    )
    return Finding(
        "learning rate too high",
        evidence,
        f"Set train.learning_rate to tuned, or to {high / 5:.0e}",
    )


def _rate_too_low(found: TrainingFacts) -> Finding | None:
    low, high = found.usual_rates
    if found.learning_rate >= low or found.unlearned < 0.3:
        return None
    first, last = found.series("train_loss")[0], found.series("train_loss")[-1]
    evidence = (
        f"{found.learning_rate:.2g} is below the usual {low:.0e} to {high:.0e}, and the train loss "
        f"only went from {first:.2f} to {last:.2f}"
    )
    middle = math.sqrt(low * high)
    return Finding(
        "learning rate too low", evidence, f"Set train.learning_rate to tuned, or to {middle:.0e}"
    )


def _too_short(found: TrainingFacts) -> Finding | None:
    epochs, fall = len(found.history), found.late_fall("val_loss")
    still = found.best_epoch == epochs == found.planned_epochs and fall > 0.06
    rising = found.unlearned > 0.35 and found.late_fall("train_loss") > 0.02
    if epochs == 1 and found.is_short and found.unlearned > 0.35:
        evidence = f"1 epoch, where {found.usual_epochs[0]} to {found.usual_epochs[1]} are usual"
        return Finding("too short", evidence, f"Set train.epochs to {found.usual_epochs[0]}")
    if not (found.is_short and rising) and not (still and found.val_level > 0.05 and rising):
        return None
    evidence = (
        f"the loss was still falling after epoch {epochs} of {found.planned_epochs}, by "
        f"{max(fall, found.late_fall('train_loss')):.0%} at the end"
    )
    return Finding("too short", evidence, f"Set train.epochs to {2 * found.planned_epochs}")


def _overfitting(found: TrainingFacts) -> Finding | None:
    losses = found.series("val_loss")
    rise = losses[-1] / min(losses) - 1
    gap = found.val_level > 0.3 and found.unlearned < found.val_level / 3
    turned = rise > 0.15 and found.best_epoch < len(losses) and found.unlearned < 0.3
    if not gap and not (turned and found.val_level > 0.1):
        return None
    evidence = (
        f"training images are learned by heart ({found.unlearned:.0%} of the loss of guessing is "
        f"left), val images are not ({found.val_level:.0%}); the best epoch is {found.best_epoch} "
        f"of {len(losses)}"
    )
    level = LEVELS.index(found.augmentation)
    advice = "Collect more images, or halve train.epochs and train.learning_rate"
    if level < LEVELS.index("heavy"):
        advice = f"Set training.augmentation to {LEVELS[level + 1]}"
    return Finding("overfitting", evidence, advice)


def _underfitting(found: TrainingFacts) -> Finding | None:
    if found.unlearned < 0.6 or found.val_level < 0.6:
        return None
    evidence = (
        f"{found.unlearned:.0%} of the loss of guessing is left on the training images, "
        f"{found.val_level:.0%} on val"
    )
    if LEVELS.index(found.augmentation) > LEVELS.index(found.usual_augmentation):
        advice = f"Set training.augmentation to {found.usual_augmentation}"
        return Finding(
            "underfitting", f"{evidence}, with {found.augmentation} augmentation", advice
        )
    if found.late_fall("train_loss") > 0.02:
        return Finding("underfitting", evidence, f"Set train.epochs to {2 * found.planned_epochs}")
    advice = "Try model.architecture: resnet50 or a larger model.image_size, and check the labels"
    return Finding("data harder than the model", f"{evidence}, and no longer falling", advice)


def _plateau(found: TrainingFacts) -> Finding | None:
    losses = found.series("val_loss")
    half = losses[len(losses) // 2 :]
    flat = max(half) < 1.08 * min(losses) and found.late_fall("train_loss") < 0.02
    if len(losses) < 20 or not flat or found.val_level < 0.1:
        return None
    evidence = (
        f"val loss has not moved since epoch {len(losses) // 2 + 1} of {len(losses)}; after 2 or 3 "
        "epochs that is normal"
    )
    return Finding("plateau", evidence, f"Set train.epochs to {max(len(losses) // 2, 3)}")


def _few_images(found: TrainingFacts) -> Finding | None:
    smallest = min(found.class_counts)
    if smallest >= _FEW_IMAGES or found.val_level < 0.25:
        return None
    evidence = f"the smallest class has {smallest:,} training images"
    return Finding("too few images", evidence, f"Collect {_FEW_IMAGES} or more of each class")


def _loader_bound(found: TrainingFacts) -> Finding | None:
    if found.read_share is None or found.read_share < 0.5:
        return None
    evidence = f"{found.read_share:.0%} of the time goes into reading images"
    return Finding("loader-bound", evidence, "Raise data.cache_gib, or put cache/ on a faster disk")


Rule = Callable[[TrainingFacts], Finding | None]

# By the curves: the first that applies explains the others.
_CURVE_RULES: tuple[Rule, ...] = (
    _rate_too_high,
    _rate_too_low,
    _overfitting,
    _too_short,
    _underfitting,
    _plateau,
)
_DATA_RULES: tuple[Rule, ...] = (_few_images, _loader_bound)
