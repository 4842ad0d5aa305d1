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
    import optuna
    from optuna.trial import FrozenTrial

    from components.core.training.loop import Epoch, LabeledImages

# Trials report after each quarter of their own schedule and are compared at the third: earlier, the
# best trial of a study was often pruned (bench/tuning.py).
QUARTERS = 4
PRUNING_QUARTER = 3

_OUT_OF_MEMORY = "out_of_memory"
_JUDGED = ("val/loss", "val/accuracy")  # of the best epoch

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


class TrialRun:
    """The training of one trial, and its curve."""

    def __init__(self, trial: optuna.Trial, config: TrainingConfig, progress: Progress) -> None:
        self._trial, self._config, self._progress = trial, config, progress
        self._curve: list[dict[str, float]] = []

    @property
    def curve(self) -> list[dict[str, float]]:
        """What was measured, a row an epoch, as MLflow names it."""
        return [*self._curve]

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
            notice=self._note,
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

    def _note(self, text: str) -> None:
        self._progress.note(text)
        self._trial.set_user_attr(_OUT_OF_MEMORY, text)

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


def log_trial(trial: FrozenTrial, parent: tracking.Run) -> None:
    """Log a trial that has ended as a nested run, from what the study holds of it."""
    notes = trial.user_attrs
    settings = {**trial.params, "horizontal_flip": notes["horizontal_flip"]}
    tags = {name: notes[name] for name in (_OUT_OF_MEMORY,) if name in notes}
    tags["state"] = trial.state.name.lower()
    with parent.child(f"trial {trial.number}", tags=tags) as child:
        child.params(settings)
        for step, row in enumerate(notes["curve"], start=1):
            child.metrics(row, step=step)
        if notes["curve"]:  # of the epoch that the study judged, not of the last one
            best = min(notes["curve"], key=lambda row: row["val/loss"])
            child.metrics({f"best/{k.replace('/', '_')}": best[k] for k in _JUDGED})
