"""The search: workers that run the trials of one study, and its best trial."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components import tracking
from components.core.artifacts import Hyperparameters
from components.core.errors import (
    Diverged,
    Interrupted,
    InvalidParams,
    OutOfMemory,
    PipelineError,
)
from components.core.training.loop import Stopped
from components.io.process import Stop, stop_on_signal
from components.io.progress import Progress
from components.tune import storage
from components.tune.heartbeat import Heartbeat
from components.tune.trial import PRUNING_QUARTER, StudyContext, TrialRun, log_trial
from components.tune.trial_queue import RELEASED, WORKER_LOST, TrialQueue, reason
from components.tune.worker import is_here

if TYPE_CHECKING:
    import optuna

    from components.core.training.config import TrainingConfig

IMPORTANCE_TRIALS = 10  # complete ones, below which nothing is said about the settings

# Between two polls of the other workers.
_POLL_SECONDS = 1.0


@contextmanager
def open_study(journal: Path, context: StudyContext, worker: int) -> Iterator[TrialQueue]:
    """Open or create the study.

    Args:
        journal: file of the study, unless OPTUNA_STORAGE names a database.
        context: what all trials have in common.
        worker: number of this worker.

    Raises:
        InvalidParams: the study's trials ran on other hardware; OPTUNA_STORAGE is no database URL.
        ServiceUnavailable: the database does not answer.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage.open_storage(journal) as opened:
        study = optuna.create_study(
            study_name=context.name, storage=opened, direction="minimize", load_if_exists=True
        )
        _require_same_hardware(study, f"{context.config.device} in {context.config.precision}")
        place = f"the study {context.name}" if storage.VARIABLE in os.environ else str(journal)
        first = context.space.first_trials
        queue = TrialQueue(study, worker, context.num_trials, first, context.config.seed, place)
        study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=1, n_warmup_steps=PRUNING_QUARTER
        )
        yield queue


def _require_same_hardware(study: optuna.Study, mine: str) -> None:
    """Trials of unequal arithmetic cannot be compared: the first worker's stays the study's."""
    found = study.user_attrs.get("hardware")
    if found is None:
        study.set_user_attr("hardware", mine)
    elif found != mine:
        raise InvalidParams(
            f"tune: the trials of {study.study_name} ran on {found}, this machine would use "
            f"{mine}; set training.device and training.precision in params.yaml, which starts a "
            "study of its own, or run it on equal machines."
        )


def run_trials(
    queue: TrialQueue, context: StudyContext, mlflow_run: tracking.Run, *, wait: bool
) -> None:
    """Run trials until the budget in trials or in seconds is used up.

    The time limit never ends the search before one trial is complete. A trial that training cannot
    finish (NaN, memory) uses its slot up; one that a signal stops does not.

    Args:
        queue: the study's slots.
        context: what all trials have in common.
        mlflow_run: parent of the trials' runs.
        wait: stay until the other workers' trials have ended, and take over the lost ones.
    """
    waiting_for, logged = 0, mlflow_run.finished_children()
    with stop_on_signal() as stop:
        while True:
            _log_finished(queue, mlflow_run, logged)
            queue.reclaim_stale()
            if _predecessor_may_live(queue):
                _pause(queue, stop)
                continue
            left = context.timeout_seconds - queue.used_seconds()
            timed_out = left <= 0 and bool(queue.complete())
            if not timed_out and queue.enqueue_missing():
                _run_trial(queue, context, time.monotonic() + left, stop)
            elif wait and (others := queue.running()):
                if others != waiting_for:
                    print(f"tune      trials of other workers still running: {others}", flush=True)
                waiting_for = others
                _pause(queue, stop)
            else:
                break
        if timed_out:
            limit = f"{context.timeout_seconds} s (tune.timeout_seconds)"
            print(f"tune      time limit reached: {limit}", flush=True)


def _log_finished(queue: TrialQueue, mlflow_run: tracking.Run, logged: set[str]) -> None:
    """Log this worker's trials that MLflow lacks, also those that a kill kept from it.

    Args:
        queue: with the trials.
        mlflow_run: parent of the trials' runs.
        logged: names of those that are there; grows.
    """
    for trial in queue.finished():
        notes, name = trial.user_attrs, f"trial {trial.number}"
        if notes.get("worker") == queue.worker and "curve" in notes and name not in logged:
            log_trial(trial, mlflow_run)
            logged.add(name)


def _predecessor_may_live(queue: TrialQueue) -> bool:
    """Whether a trial of this worker's number runs on a machine that cannot be seen from here.

    After a pod was lost that is its trial: it is run again before any later one, so that the search
    finds what it would have found.
    """
    from optuna.trial import TrialState

    running = queue.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    mine = [t.user_attrs for t in running if t.user_attrs.get("worker") == queue.worker]
    return any(not is_here(notes.get("process", "")) for notes in mine)


def _pause(queue: TrialQueue, stop: Stop) -> None:
    if stop:
        raise _interrupted(queue, stop)
    time.sleep(_POLL_SECONDS)


def _interrupted(queue: TrialQueue, stop: Stop) -> Interrupted:
    return Interrupted(
        f"tune: stopped by a signal; {len(queue.finished())} finished trials are kept. Run the "
        "same command again to continue.",
        stop.signal_number,
    )


def best_hyperparameters(queue: TrialQueue, context: StudyContext) -> Hyperparameters:
    """Those of the best complete trial. Raises `PipelineError` when there is none."""
    from optuna.trial import TrialState

    complete, finished = queue.complete(), queue.finished()
    if not complete:
        reasons = sorted({reason(trial) for trial in finished})
        advice = "lower the upper end of tune.learning_rate"
        if reasons == [WORKER_LOST]:
            advice = "find out what killed them, then delete it"
        raise PipelineError(
            f"tune: none of {len(finished)} trials in {queue.place} is complete "
            f"({'; '.join(reasons)}), so there are no hyperparameters; {advice} and run again."
        )
    states = [trial.state for trial in finished]
    best = min(complete, key=lambda trial: (trial.value, trial.user_attrs["slot"]))
    assert best.value is not None
    return Hyperparameters(
        learning_rate=best.params["learning_rate"],
        epochs=best.params["epochs"],
        horizontal_flip=best.user_attrs["horizontal_flip"],
        val_loss=best.value,
        val_accuracy=best.user_attrs["val_accuracy"],
        preset_val_loss=next((t.value for t in complete if t.user_attrs["slot"] == 0), None),
        image_size=context.config.image_size,
        num_train_images=len(context.train.labels),
        study=context.name,
        trials_complete=len(complete),
        trials_pruned=states.count(TrialState.PRUNED),
        trials_failed=states.count(TrialState.FAIL),
        data_digest=context.data_digest,
    )


def importance(queue: TrialQueue) -> dict[str, float]:
    """Share of each setting in the differences between trials; empty when too few to tell.

    From two or three trials one setting always seems to explain nearly everything.
    """
    import optuna

    if len(queue.complete()) < IMPORTANCE_TRIALS:
        return {}
    try:
        return dict(optuna.importance.get_param_importances(queue.study))
    except (RuntimeError, ValueError):  # all values equal
        return {}


def _run_trial(queue: TrialQueue, context: StudyContext, deadline: float, stop: Stop) -> None:
    """Claim a trial, train with the settings it suggests, store how it ended."""
    trial = queue.claim()
    if trial is None:
        return
    sys.audit("pipeline", "trial claimed")
    config = _suggest_config(trial, context, queue)
    title = f"trial {trial.number}"
    print(
        f"{title:<9} learning rate {config.learning_rate:.2g}, {config.epochs} epochs"
        f"{', horizontal flip' if config.horizontal_flip else ''}",
        flush=True,
    )
    trial_run = TrialRun(trial, config, Progress(title, config, len(context.train.labels), stop))
    try:
        with Heartbeat(trial) as heartbeat:
            limit = deadline if queue.complete() else None
            state, why = _train(trial_run, context, heartbeat, limit)
    except Stopped:
        queue.release(trial, RELEASED)
        raise _interrupted(queue, stop) from None
    name = state.name.lower()
    value, accuracy = (
        (trial_run.best_loss, trial_run.best_accuracy) if name == "complete" else (None, None)
    )
    sys.audit("pipeline", "trial trained")
    if not queue.tell(trial, state, value, why, accuracy, trial_run.curve):
        print(f"{title:<9} was requeued meanwhile; its result is dropped", flush=True)
        return
    if why:
        print(f"{title:<9} {name}: {why}", flush=True)
    sys.audit("pipeline", "trial told")


def _suggest_config(
    trial: optuna.Trial, context: StudyContext, queue: TrialQueue
) -> TrainingConfig:
    space = context.space
    return replace(
        context.config,
        learning_rate=trial.suggest_float("learning_rate", *space.learning_rate, log=True),
        epochs=trial.suggest_int("epochs", *space.epochs, log=True),
        horizontal_flip=queue.choose_flip(trial, space.horizontal_flip),
    )


def _train(
    trial_run: TrialRun, context: StudyContext, heartbeat: Heartbeat, deadline: float | None
) -> tuple[optuna.trial.TrialState, str]:
    """Run the trial's schedule, if need be until the deadline. Returns how it ended, and why."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    def out_of_time() -> bool:
        return heartbeat.lost or (deadline is not None and time.monotonic() > deadline)

    try:
        why = trial_run.train(context, out_of_time)
    except (Diverged, OutOfMemory) as error:
        return TrialState.FAIL, str(error)
    except UpdateFinishedTrialError:
        return TrialState.FAIL, ""  # it was requeued, and the heartbeat had not noticed yet
    return (TrialState.PRUNED, why) if why else (TrialState.COMPLETE, "")
