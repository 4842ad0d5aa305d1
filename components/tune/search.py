"""The study: what a trial is, when it is pruned, how a stopped search goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import Hyperparameters
from components.core.errors import Diverged, Interrupted, PipelineError
from components.core.model import ModelParams
from components.core.plan import Plan
from components.core.training import Stopped
from components.io import machine, models, tracking
from components.io.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from numpy.typing import NDArray

    from components.core.inference import Pixels
    from components.core.training import Epoch, Labelled

# Trials report after each quarter of their own schedule and are compared at the third: earlier, the
# best trial of a study was often pruned (bench/tuning.py).
QUARTERS = 4
PRUNING_QUARTER = 3


@dataclass(frozen=True)
class Space:
    """What is searched. Both ends are included; both scales are logarithmic."""

    learning_rate: tuple[float, float]
    epochs: tuple[int, int]
    first: dict[str, float]  # the known-good default, tried before anything else


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all trials of a study have in common."""

    train: Labelled
    val: Labelled
    plan: Plan  # with the default's learning rate and epochs
    model: ModelParams
    space: Space
    trials: int
    seconds: int
    data_digest: str
    num_classes: int
    name: str


@dataclass(frozen=True)
class Rows:
    """Some of the pictures of a list, under new indices."""

    pixels: Pixels
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of chosen pictures."""
        return len(self.chosen)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Pictures at `index` among the chosen ones."""
        return self.pixels[self.chosen[index]]


def open_study(path: Path, task: Task) -> optuna.Study:
    """Open or create the study in its journal file; put back what a killed run left half done.

    The seed moves on with the number of trials: a sampler that starts again from the same seed
    would repeat the trials that it already made.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = optuna.create_study(
        study_name=task.name, storage=storage, direction="minimize", load_if_exists=True
    )
    study.sampler = optuna.samplers.TPESampler(seed=task.plan.seed + len(study.trials))
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=PRUNING_QUARTER)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    study.enqueue_trial(task.space.first, skip_if_exists=True)
    return study


def run_trials(study: optuna.Study, task: Task, log: tracking.Run) -> None:
    """Run trials until the budget in trials or in seconds is used up.

    The seconds never end the search before one trial is complete. A trial that training cannot
    finish (NaN) counts as tried; one that a signal stops is put back and does not.
    """
    deadline = time.monotonic() + task.seconds
    with machine.stop_on_signal() as stop:
        while len(_tried(study)) < task.trials:
            if time.monotonic() > deadline and _complete(study):
                print(f"tune      {task.seconds} s are used up (tune.seconds)", flush=True)
                break
            _run_trial(study, task, log, deadline, stop)


def winner(study: optuna.Study, task: Task) -> Hyperparameters:
    """The best complete trial. Raises `PipelineError` when there is none."""
    from optuna.trial import TrialState

    complete = _complete(study)
    if not complete:
        whys = {str(trial.user_attrs.get("why")) for trial in _tried(study)}
        raise PipelineError(
            f"tune: none of {len(study.trials)} trials was completed ({'; '.join(sorted(whys))}). "
            "Nothing is made up: lower the upper end of tune.learning_rate and run again."
        )
    states = [trial.state for trial in _tried(study)]
    best = min(complete, key=lambda trial: (trial.value, trial.number))
    assert best.value is not None
    return Hyperparameters(
        learning_rate=best.params["learning_rate"],
        epochs=best.params["epochs"],
        val_loss=best.value,
        study=task.name,
        trials_complete=len(complete),
        trials_pruned=states.count(TrialState.PRUNED),
        trials_failed=states.count(TrialState.FAIL),
        data_digest=task.data_digest,
    )


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of each setting in the differences between trials; empty when too few to tell."""
    import optuna

    if len(_complete(study)) < 2:
        return {}
    try:
        return dict(optuna.importance.get_param_importances(study))
    except (RuntimeError, ValueError):  # all values equal
        return {}


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _tried(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that used up budget: complete, pruned, or failed for a reason of their own."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = study.get_trials(deepcopy=False, states=ended)
    return [t for t in trials if t.state != TrialState.FAIL or "why" in t.user_attrs]


def _run_trial(
    study: optuna.Study, task: Task, log: tracking.Run, deadline: float, stop: machine.Stop
) -> None:
    """Ask for settings, train with them, tell how it ended."""
    from optuna.trial import TrialState

    trial = study.ask()
    plan = replace(
        task.plan,
        learning_rate=trial.suggest_float("learning_rate", *task.space.learning_rate, log=True),
        epochs=trial.suggest_int("epochs", *task.space.epochs, log=True),
    )
    title = f"trial {trial.number}"
    print(f"{title:<9} learning rate {plan.learning_rate:.2g}, {plan.epochs} epochs", flush=True)
    attempt = _Attempt(trial, plan, Progress(title, plan, len(task.train.labels), stop))
    may_end = bool(_complete(study))
    try:
        why = attempt.train(task, lambda: may_end and time.monotonic() > deadline)
        state = TrialState.PRUNED if why else TrialState.COMPLETE
    except Diverged as error:
        why, state = str(error), TrialState.FAIL
    except Stopped:
        raise Interrupted(
            f"tune: stopped by a signal; {len(_tried(study))} finished trials are kept. Run the "
            "same command again to continue.",
            stop.signal_number,
        ) from None
    if why:
        trial.set_user_attr("why", why)
        print(f"{title:<9} {state.name.lower()}: {why}", flush=True)
    study.tell(trial, attempt.least if state == TrialState.COMPLETE else None, state=state)
    attempt.log(log, state.name.lower())


class _Attempt:
    """One trial's training: its curve, and the comparison at each quarter."""

    def __init__(self, trial: optuna.Trial, plan: Plan, progress: Progress) -> None:
        self._trial, self._plan, self._progress = trial, plan, progress
        self._curve: list[dict[str, float]] = []

    @property
    def least(self) -> float:
        """Least val loss so far: what the study minimises."""
        return min(row["val/loss"] for row in self._curve)

    def train(self, task: Task, out_of_time: Callable[[], bool]) -> str:
        """Run the schedule. Returns why it was cut short, or "" when it was not."""
        from components.core.training import fit

        network, _ = models.start_network(task.model, task.num_classes, self._plan.seed)
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
