"""One trial: its training, its curve, and the comparison at each quarter of its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components import tracking
from components.core.training.architectures import ModelParams
from components.core.training.config import TrainingConfig
from components.core.training.loop import Stopped
from components.io import models
from components.io.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from numpy.typing import NDArray

    from components.core.training.inference import ImageArray
    from components.core.training.loop import Epoch, LabeledImages

# Trials report after each quarter of their own schedule and are compared at the third: earlier, the
# best trial of a study was often pruned (bench/tuning.py).
QUARTERS = 4
PRUNING_QUARTER = 3


@dataclass(frozen=True)
class SearchSpace:
    """What is searched. Both ends are included; both scales are logarithmic."""

    learning_rate: tuple[float, float]
    epochs: tuple[int, int]
    first: dict[str, float]  # the known-good default, tried before anything else


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all trials of a study have in common."""

    train: LabeledImages
    val: LabeledImages
    plan: TrainingConfig  # with the default's learning rate and epochs
    model: ModelParams
    space: SearchSpace
    trials: int
    seconds: int
    data_digest: str
    num_classes: int
    name: str


@dataclass(frozen=True)
class Subset:
    """Some of the pictures of a list, under new indices."""

    pixels: ImageArray
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of chosen pictures."""
        return len(self.chosen)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Pictures at `index` among the chosen ones."""
        return self.pixels[self.chosen[index]]


class TrialRun:
    """One trial's training: its curve, and the comparison at each quarter."""

    def __init__(self, trial: optuna.Trial, plan: TrainingConfig, progress: Progress) -> None:
        self._trial, self._plan, self._progress = trial, plan, progress
        self._curve: list[dict[str, float]] = []

    @property
    def least(self) -> float:
        """Least val loss so far: what the study minimizes."""
        return min(row["val/loss"] for row in self._curve)

    def train(self, task: Task, out_of_time: Callable[[], bool]) -> str:
        """Run the schedule. Returns why it was cut short, or "" when it was not."""
        from components.core.training.loop import fit

        network, _ = models.create_model(task.model, task.num_classes, self._plan.seed)
        epochs = fit(
            network,
            task.train,
            task.val,
            self._plan,
            after_batch=lambda done, total: (
                self._progress.after_batch(done, total) or out_of_time()
            ),
        )
        try:
            for epoch in epochs:
                self._note(epoch)
                if self._prunable(epoch.index):
                    share = f"{epoch.index} of {self._plan.epochs} epochs"
                    return f"after {share} worse than the median there"
        except Stopped:
            if self._progress.stopped:
                raise
            return "tune.seconds are used up"
        return ""

    def _note(self, epoch: Epoch) -> None:
        rate = self._progress.report(epoch)
        self._curve.append(
            {
                "train/loss": epoch.train_loss,
                "val/loss": epoch.val_loss,
                "val/accuracy": epoch.val_accuracy,
                "train/images_per_second": rate,
            }
        )

    def _prunable(self, epoch: int) -> bool:
        """Report at the end of each quarter of this trial's schedule; ask the pruner."""
        epochs = self._plan.epochs
        quarter = QUARTERS * epoch // epochs
        if quarter == QUARTERS * (epoch - 1) // epochs:
            return False
        self._trial.report(self.least, step=quarter)
        return quarter < QUARTERS and self._trial.should_prune()

    def log(self, parent: tracking.Run, state: str) -> None:
        """Write the trial as a nested run."""
        settings = {"learning_rate": self._plan.learning_rate, "epochs": self._plan.epochs}
        with parent.child(f"trial {self._trial.number}", tags={"state": state}) as child:
            child.params(settings)
            for step, row in enumerate(self._curve, start=1):
                child.metrics(row, step=step)
