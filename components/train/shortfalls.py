"""A training that ends worse than it should: what was found, the likely reasons, what to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.core.phrases import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.core.artifacts import Hyperparameters
    from components.core.training.config import TrainingConfig


@dataclass(frozen=True)
class Outcome:
    """How a training ended: its best epoch on val, and the settings that led there."""

    config: TrainingConfig
    num_train_images: int
    val_labels: NDArray[np.int64]
    val_loss: float
    val_accuracy: float
    class_names: list[str]

    def majority_class(self) -> tuple[str, float]:
        """The largest class of val and its share: the accuracy of always answering it."""
        counts = np.bincount(self.val_labels, minlength=len(self.class_names))
        return self.class_names[int(counts.argmax())], float(counts.max() / counts.sum())


def find_shortfalls(outcome: Outcome, best_trial: Hyperparameters) -> dict[str, str]:
    """Name of each shortfall -> one line about it; empty when the training is as good as it should.

    Both are compared on the same val split as they are: the loss is what the search went by, and
    the accuracy of one answer for everything is what any training must exceed.
    """
    found = {}
    if outcome.val_loss > best_trial.val_loss:
        found["worse_than_best_trial"] = (
            f"worse than the best trial: val/loss {outcome.val_loss:.3f}, accuracy "
            f"{outcome.val_accuracy:.3f}; the trial had {best_trial.val_loss:.3f}, "
            f"{best_trial.val_accuracy:.3f}. {_why_worse(outcome, best_trial)}"
        )
    name, share = outcome.majority_class()
    if outcome.val_accuracy <= share:
        found["not_better_than_majority_class"] = (
            f"no better than always answering {name!r}: accuracy {outcome.val_accuracy:.3f} on "
            f"val, of which {share:.3f} is {name!r}. {_why_nothing_learned(outcome)}"
        )
    return found


def _why_worse(outcome: Outcome, best_trial: Hyperparameters) -> str:
    config = outcome.config
    settings = ("learning_rate", "epochs")
    changed = [s for s in settings if getattr(config, s) != getattr(best_trial, s)]
    reasons = []
    if changed:
        names = " and ".join(f"train.{name}" for name in changed)
        reasons.append(f"it did not use the trial's {' and '.join(changed)}: set {names} to tuned")
    if config.image_size != best_trial.image_size:
        reasons.append(
            f"images have {config.image_size} px here and had {best_trial.image_size} px there: "
            "set tune.image_size nearer to model.image_size"
        )
    if outcome.num_train_images > best_trial.num_train_images:
        reasons.append(
            f"the trial learned from {best_trial.num_train_images:,} of "
            f"{count(outcome.num_train_images, 'image')}: raise tune.train_fraction"
        )
    if not reasons:
        reasons.append("chance, if val is small: try another training.seed")
    return f"Likely reasons: {'; '.join(reasons)}."


def _why_nothing_learned(outcome: Outcome) -> str:
    config = outcome.config
    reasons = [
        f"too few epochs ({config.epochs}): raise tune.epochs or train.epochs",
        f"an unfit learning rate ({config.learning_rate:.2g}): widen tune.learning_rate",
        "wrong labels: look at artifacts/validate/report.html",
    ]
    if len(set(config.class_weights)) > 1:
        reasons.append("rare classes count more: training.class_weights none favors accuracy")
    return f"Likely reasons: {'; '.join(reasons)}."
