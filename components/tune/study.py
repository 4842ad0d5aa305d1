"""The study that all workers share: the slots of its budget, and who holds them.

A budget of n trials is n numbered slots. A slot belongs to the first of its trials that did not
die; a trial that died makes room for another one with the same settings. All of it is read from the
table of trials, so a worker may be killed at any point, and none overruns the budget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

HEARTBEAT_SECONDS = 10.0  # a running trial says that it lives, this often
STALE_SECONDS = 60.0  # and is taken back after this much silence
MAX_RETRIES = 3  # workers that a trial may take with it

WORKER_LOST = "its worker fell silent"
RELEASED = "its worker was stopped"
DUPLICATE = "its slot was taken"


@dataclass
class TrialQueue:
    """The slots of a study, as one worker sees them.

    Attributes:
        study: open in the storage that all workers share.
        worker: number of this worker, from 0; no two live workers have the same.
        slots: trials of the budget.
        first: settings of slot 0; the sampler chooses the others.
    """

    study: optuna.Study
    worker: int
    slots: int
    first: Mapping[str, float]
    _heard: dict[int, tuple[object, float]] = field(default_factory=dict)

    def fill(self) -> bool:
        """Queue a trial for every slot that nobody holds; returns whether any is queued."""
        from optuna.trial import TrialState

        by_slot = self._by_slot()
        for slot in range(self.slots):
            if _holder(by_slot[slot]) is None:
                before = [dict(trial.params) for trial in by_slot[slot] if trial.params]
                settings = before[-1] if before else dict(self.first) if slot == 0 else {}
                self.study.enqueue_trial(settings, user_attrs={"slot": slot})
        held = [_holder(trials) for trials in self._by_slot().values()]
        return any(trial and trial.state == TrialState.WAITING for trial in held)

    def take(self) -> optuna.Trial | None:
        """Begin a queued trial; None when another worker was faster."""
        trial = self.study.ask()
        trials = self._by_slot().get(trial.user_attrs.get("slot", -1), [])
        holder = _holder(trials)
        if holder is None or holder.number != trial.number:
            self.give_back(trial, DUPLICATE)
            return None
        now = time.time()
        for name, value in {"worker": self.worker, "began": now, "beat": now}.items():
            trial.set_user_attr(name, value)
        return trial

    def give_back(self, trial: optuna.Trial, reason: str) -> None:
        """End the trial without using its slot up."""
        from optuna.trial import TrialState

        self._end(trial, {"lost": reason}, None, TrialState.FAIL)

    def end(
        self,
        trial: optuna.Trial,
        state: optuna.trial.TrialState,
        value: float | None = None,
        why: str = "",
    ) -> bool:
        """Tell how the trial ended; False when it was taken back meanwhile: nothing is told."""
        return self._end(trial, {"why": why} if why else {}, value, state)

    def reap(self) -> None:
        """Take back running trials whose workers died: own ones at once, others once silent."""
        from optuna.trial import TrialState

        now = time.monotonic()
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            beat, since = self._heard.get(trial.number, (None, now))
            if beat != trial.user_attrs.get("beat"):
                since = now
            self._heard[trial.number] = (trial.user_attrs.get("beat"), since)
            mine = trial.user_attrs.get("worker") == self.worker
            if mine or now - since > STALE_SECONDS:
                self._bury(trial)

    def _bury(self, trial: FrozenTrial) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        # Somebody else was faster, or it ended after all.
        with suppress(UpdateFinishedTrialError, ValueError):
            self.study.tell(trial.number, state=TrialState.FAIL)
            print(f"tune      trial {trial.number} is taken back: {WORKER_LOST}", flush=True)

    def _end(
        self,
        trial: optuna.Trial,
        notes: Mapping[str, str],
        value: float | None,
        state: optuna.trial.TrialState,
    ) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            for name, note in {"beat": time.time(), **notes}.items():
                trial.set_user_attr(name, note)
            self.study.tell(trial, value, state=state)
        except (UpdateFinishedTrialError, ValueError):
            if self.study.trials[trial.number].state.is_finished():
                return False
            raise
        return True

    def running(self) -> int:
        """Trials at work now, in any worker."""
        from optuna.trial import TrialState

        return len(self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def complete(self) -> list[FrozenTrial]:
        """Trials that ran their whole schedule."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def tried(self) -> list[FrozenTrial]:
        """The trials that used up their slots."""
        holders = [_holder(trials) for trials in self._by_slot().values()]
        return [trial for trial in holders if trial and trial.state.is_finished()]

    def begun(self) -> list[FrozenTrial]:
        """Every trial that a worker held, those that died included."""
        return [t for t in self.study.get_trials(deepcopy=False) if "worker" in t.user_attrs]

    def used_seconds(self) -> float:
        """Time in which at least one trial was at work, pauses and dead time left out."""
        # Until the last beat, by the worker's clock: Optuna notes times without their time zone.
        notes = [trial.user_attrs for trial in self.begun()]
        return covered((note["began"], note["beat"]) for note in notes if "beat" in note)

    def _by_slot(self) -> dict[int, list[FrozenTrial]]:
        """Slot -> its trials, oldest first."""
        found: dict[int, list[FrozenTrial]] = {slot: [] for slot in range(self.slots)}
        for trial in self.study.get_trials(deepcopy=False):
            found.get(trial.user_attrs.get("slot", -1), []).append(trial)
        return found


class Heartbeat:
    """Says that a trial is alive while it trains, in a thread; notes when it was taken back."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.lost = False
        self._trial = trial
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
        from sqlalchemy.exc import SQLAlchemyError

        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                self._trial.set_user_attr("beat", time.time())
            except UpdateFinishedTrialError:
                self.lost = True
                return
            except (OSError, SQLAlchemyError, StorageInternalError):
                continue  # the training itself finds out whether the storage is back in time


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals (begin, end), in their unit."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def reason(trial: FrozenTrial) -> str:
    """Why a trial ended before its schedule did; empty when it did not."""
    from optuna.trial import TrialState

    notes = trial.user_attrs
    silent = WORKER_LOST if trial.state == TrialState.FAIL else ""
    return str(notes.get("why") or notes.get("lost") or silent)


def _died(trial: FrozenTrial) -> bool:
    """Whether it ended for a reason that is not its own."""
    from optuna.trial import TrialState

    return trial.state == TrialState.FAIL and "why" not in trial.user_attrs


def _holder(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Whom a slot belongs to: every worker sees the same one, whoever queued it.

    Args:
        trials: those of the slot, oldest first.
    """
    alive = [trial for trial in trials if not _died(trial)]
    vanished = [trial for trial in trials if _died(trial) and "lost" not in trial.user_attrs]
    return next(iter(alive or vanished[MAX_RETRIES - 1 :]), None)
