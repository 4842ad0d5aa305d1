"""One trial: its training, its curve, and the pruning at three quarters of its schedule."""

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
from components.tune.search_space import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from numpy.typing import NDArray
    from optuna.trial import FrozenTrial

    from components.core.training.inference import ImageArray
    from components.core.training.loop import Epoch, LabeledImages

# Trials report after each quarter of their own schedule and are compared at the third: earlier, the
# best trial of a study was often pruned (bench/tuning.py).
QUARTERS = 4
PRUNING_QUARTER = 3

OUT_OF_TIME = "tune.timeout_seconds is used up"


def share_of_schedule(trial: FrozenTrial) -> list[tuple[float, float]]:
    """What a trial reported: (percent of its own schedule, lowest val loss until then)."""
    points = sorted(trial.intermediate_values.items())
    return [(100 * quarter / QUARTERS, loss) for quarter, loss in points]


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """What all trials of a study have in common."""

    train: LabeledImages
    val: LabeledImages
    config: TrainingConfig  # with the learning rate and epochs of the first trial
    model: ModelParams
    space: SearchSpace
    num_trials: int  # at most as many as the space has points
    timeout_seconds: int
    data_digest: str
    num_classes: int
    name: str


@dataclass(frozen=True)
class Subset:
    """Some of the images, under new indices."""

    pixels: ImageArray
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of images in the subset."""
        return len(self.indices)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Images at `index` of the subset."""
        return self.pixels[self.indices[index]]


class TrialRun:
    """The training of one trial, and its curve."""

    def __init__(self, trial: optuna.Trial, config: TrainingConfig, progress: Progress) -> None:
        self._trial, self._config, self._progress = trial, config, progress
        self._curve: list[dict[str, float]] = []

    @property
    def best_loss(self) -> float:
        """Lowest val loss so far: what the study minimizes."""
        return self._best["val/loss"]

    @property
    def best_accuracy(self) -> float:
        """Val accuracy of the epoch with the lowest val loss."""
        return self._best["val/accuracy"]

    @property
    def _best(self) -> dict[str, float]:
        return min(self._curve, key=lambda row: row["val/loss"])

    def train(self, context: StudyContext, out_of_time: Callable[[], bool]) -> str:
        """Run the whole schedule; returns why it was cut short, or "" when it was not."""
        from components.core.training.loop import fit

        network, _ = models.create_model(context.model, context.num_classes, self._config.seed)
        epochs = fit(
            network,
            context.train,
            context.val,
            self._config,
            after_batch=lambda done, total: (
                self._progress.after_batch(done, total) or out_of_time()
            ),
        )
        try:
            for epoch in epochs:
                self._record(epoch)
                if self._prunable(epoch.index):
                    return (
                        f"worse than the median after {epoch.index} of {self._config.epochs} epochs"
                    )
        except Stopped:
            if self._progress.stopped:
                raise
            return OUT_OF_TIME
        return ""

    def _record(self, epoch: Epoch) -> None:
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
        """Report at the end of each quarter of the schedule; returns whether to prune."""
        epochs = self._config.epochs
        quarter = QUARTERS * epoch // epochs
        if quarter == QUARTERS * (epoch - 1) // epochs:
            return False
        self._trial.report(self.best_loss, step=quarter)
        return quarter < QUARTERS and self._trial.should_prune()

    def log(self, parent: tracking.Run, state: str) -> None:
        """Log the trial as a nested run; `state` as in trials.csv."""
        names = ("learning_rate", "epochs", "horizontal_flip")
        settings = {name: getattr(self._config, name) for name in names}
        with parent.child(f"trial {self._trial.number}", tags={"state": state}) as child:
            child.params(settings)
            for step, row in enumerate(self._curve, start=1):
                child.metrics(row, step=step)
            if self._curve:  # of the epoch that the study judged, not of the last one
                best = {"best/val_loss": self.best_loss, "best/val_accuracy": self.best_accuracy}
                child.metrics(best)
