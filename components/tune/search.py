"""The search: several workers on one study, how each goes on, and who won."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components import tracking
from components.core.artifacts import Hyperparameters
from components.core.errors import Diverged, Interrupted, InvalidParams, PipelineError
from components.core.training.loop import Stopped
from components.io import process as machine
from components.io.progress import Progress
from components.tune import storage
from components.tune.study import RELEASED, Heartbeat, TrialQueue, reason
from components.tune.trial import PRUNING_QUARTER, Task, TrialRun

if TYPE_CHECKING:
    import optuna

# Between two looks at the other workers.
_PAUSE_SECONDS = 1.0


@contextmanager
def open_study(journal: Path, task: Task, worker: int) -> Iterator[TrialQueue]:
    """Open or create the study.

    The seed moves on with the trials that were begun, and differs between workers: samplers that
    start from the same seed would make the same trials.

    Args:
        journal: file of the study, unless OPTUNA_STORAGE names a database.
        task: what all trials have in common.
        worker: number of this worker.

    Raises:
        InvalidParams: the study's trials ran on other hardware; OPTUNA_STORAGE is no database URL.
        ServiceUnavailable: the database does not answer.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage.open_storage(journal) as opened:
        study = optuna.create_study(
            study_name=task.name, storage=opened, direction="minimize", load_if_exists=True
        )
        _require_hardware(study, f"{task.plan.device} in {task.plan.precision}")
        roster = TrialQueue(study, worker, task.trials, task.space.first)
        seed = task.plan.seed + 1000 * worker + len(roster.begun())
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=1, n_warmup_steps=PRUNING_QUARTER
        )
        yield roster


def _require_hardware(study: optuna.Study, mine: str) -> None:
    """Trials of unequal arithmetic cannot be compared: the first worker's stays the study's."""
    found = study.user_attrs.get("hardware")
    if found is None:
        study.set_user_attr("hardware", mine)
    elif found != mine:
        raise InvalidParams(
            f"tune: the trials of {study.study_name} ran on {found}, this machine would use "
            f"{mine}; state training.device and training.precision in params.yaml, which begins a "
            "study of its own, or run it on equal machines."
        )


def run_trials(roster: TrialQueue, task: Task, log: tracking.Run, *, wait: bool) -> None:
    """Run trials until the budget in trials or in seconds is used up.

    The seconds never end the search before one trial is complete. A trial that training cannot
    finish (NaN, memory) uses its slot up; one that a signal stops does not.

    Args:
        roster: the study's slots.
        task: what all trials have in common.
        log: parent of the trials' runs.
        wait: stay until the other workers' trials have ended, and take over from the dead.
    """
    told = 0
    with machine.stop_on_signal() as stop:
        while True:
            roster.reap()
            left = task.seconds - roster.used_seconds()
            late = left <= 0 and bool(roster.complete())
            if not late and roster.fill():
                _run_trial(roster, task, log, time.monotonic() + left, stop)
            elif wait and (others := roster.running()):
                if others != told:
                    print(f"tune      waiting for {others} trials of other workers", flush=True)
                told = others
                _pause(roster, stop)
            else:
                break
        if late:
            print(f"tune      {task.seconds} s are used up (tune.seconds)", flush=True)


def _pause(roster: TrialQueue, stop: machine.Stop) -> None:
    if stop:
        raise _stopped(roster, stop)
    time.sleep(_PAUSE_SECONDS)


def _stopped(roster: TrialQueue, stop: machine.Stop) -> Interrupted:
    return Interrupted(
        f"tune: stopped by a signal; {len(roster.tried())} finished trials are kept. Run the same "
        "command again to continue.",
        stop.signal_number,
    )


def winner(roster: TrialQueue, task: Task) -> Hyperparameters:
    """The best complete trial. Raises `PipelineError` when there is none."""
    from optuna.trial import TrialState

    complete, tried = roster.complete(), roster.tried()
    if not complete:
        reasons = sorted({reason(trial) for trial in tried})
        raise PipelineError(
            f"tune: none of {len(tried)} trials was completed ({'; '.join(reasons)}). "
            "Nothing is made up: lower the upper end of tune.learning_rate and run again."
        )
    states = [trial.state for trial in tried]
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


def importance(roster: TrialQueue) -> dict[str, float]:
    """Share of each setting in the differences between trials; empty when too few to tell."""
    import optuna

    if len(roster.complete()) < 2:
        return {}
    try:
        return dict(optuna.importance.get_param_importances(roster.study))
    except (RuntimeError, ValueError):  # all values equal
        return {}


def _run_trial(
    roster: TrialQueue, task: Task, log: tracking.Run, deadline: float, stop: machine.Stop
) -> None:
    """Ask for settings, train with them, tell how it ended."""
    trial = roster.take()
    if trial is None:
        return
    plan = replace(
        task.plan,
        learning_rate=trial.suggest_float("learning_rate", *task.space.learning_rate, log=True),
        epochs=trial.suggest_int("epochs", *task.space.epochs, log=True),
    )
    title = f"trial {trial.number}"
    print(f"{title:<9} learning rate {plan.learning_rate:.2g}, {plan.epochs} epochs", flush=True)
    attempt = TrialRun(trial, plan, Progress(title, plan, len(task.train.labels), stop))
    try:
        with Heartbeat(trial) as lease:
            state, why = _train(attempt, task, lease, deadline if roster.complete() else None)
    except Stopped:
        roster.give_back(trial, RELEASED)
        raise _stopped(roster, stop) from None
    name = state.name.lower()
    if not roster.end(trial, state, attempt.least if name == "complete" else None, why):
        print(f"{title:<9} was given to another worker; its result is dropped", flush=True)
        return
    if why:
        print(f"{title:<9} {name}: {why}", flush=True)
    attempt.log(log, name)


def _train(
    attempt: TrialRun, task: Task, lease: Heartbeat, deadline: float | None
) -> tuple[optuna.trial.TrialState, str]:
    """Run the trial's schedule, if need be until the deadline. Returns how it ended, and why."""
    import torch
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    def cut() -> bool:
        return lease.lost or (deadline is not None and time.monotonic() > deadline)

    try:
        why = attempt.train(task, cut)
    except Diverged as error:
        return TrialState.FAIL, str(error)
    except (MemoryError, torch.OutOfMemoryError):
        return TrialState.FAIL, "out of memory: lower training.batch_size or tune.image_size"
    except UpdateFinishedTrialError:
        return TrialState.FAIL, ""  # it was taken back, and the lease had not noticed yet
    return (TrialState.PRUNED, why) if why else (TrialState.COMPLETE, "")
