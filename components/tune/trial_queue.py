"""The queue of a study's trials, shared by all workers: the slots of its budget and who has them.

A budget of n trials is n numbered slots. A slot belongs to the first of its trials that was not
lost; a lost trial makes room for another one with the same settings. All of it is read from the
table of trials, so a worker may be killed at any point, and none exceeds the budget.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from components.core.training.schedule import derive_seed
from components.tune.worker import has_ended, identify

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STALE_SECONDS = 60.0  # without a heartbeat for so long, it is requeued
MAX_RETRIES = 2  # of the trials of one slot that lose their worker

_SETTINGS = 2  # of a trial that the sampler chooses

# Why a trial was lost: it failed for a reason that is not its own.
WORKER_LOST = "heartbeat lost"
RELEASED = "released"
RESTARTED = "worker restarted"
DUPLICATE = "duplicate"


@dataclass
class TrialQueue:
    """The slots of a study, as one worker sees them.

    Attributes:
        study: open in the storage that all workers share.
        worker: number of this worker, from 0.
        slots: trials of the budget.
        first_trials: settings of the first slots; the sampler chooses the others.
        seed: of the sampler.
        place: where the study lies, for messages.
    """

    study: optuna.Study
    worker: int
    slots: int
    first_trials: Sequence[Mapping[str, float]]
    seed: int
    place: str
    _heard: dict[int, tuple[object, float]] = field(default_factory=dict)
    _outages: int = 0

    def enqueue_missing(self) -> bool:
        """Enqueue a trial for the first slot that has none, if no trial waits; whether one does.

        One at a time: whatever was killed, a single worker fills the slots in their order.
        """
        from optuna.trial import TrialState

        by_slot = self._by_slot()
        owners = [_owner(trials) for trials in by_slot.values()]
        if any(owner and owner.state == TrialState.WAITING for owner in owners):
            return True
        if None not in owners:
            return False
        slot = owners.index(None)
        earlier = [dict(t.params) for t in by_slot[slot] if len(t.params) == _SETTINGS]
        first = [dict(settings) for settings in self.first_trials[slot : slot + 1]]
        notes = {"slot": slot, "process": identify()}
        self.study.enqueue_trial((earlier or first or [{}])[-1], user_attrs=notes)
        return True

    def claim(self) -> optuna.Trial | None:
        """Start a waiting trial; None when another worker was faster.

        What the sampler chooses depends on the slot and on the trials that have ended: not on how
        often the search was stopped.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        slot = min((t.user_attrs.get("slot", 0) for t in waiting), default=0)
        self.study.sampler = TPESampler(seed=derive_seed(self.seed, f"trial {slot}") % 2**32)
        trial = self.study.ask()
        trials = self._by_slot().get(trial.user_attrs.get("slot", -1), [])
        owner = _owner(trials)
        if owner is None or owner.number != trial.number:
            self.release(trial, DUPLICATE)
            return None
        now = time.time()
        notes = {"process": identify(), "worker": self.worker, "started": now, "heartbeat": now}
        try:
            for name, value in notes.items():
                trial.set_user_attr(name, value)
        except UpdateFinishedTrialError:  # whoever enqueued it is gone, and it was requeued
            return None
        return trial

    def release(self, trial: optuna.Trial, reason: str) -> None:
        """End the trial without using its slot up."""
        from optuna.trial import TrialState

        self._tell(trial, {"lost": reason}, None, TrialState.FAIL)

    def tell(
        self,
        trial: optuna.Trial,
        state: optuna.trial.TrialState,
        value: float | None = None,
        reason: str = "",
        accuracy: float | None = None,
        curve: Sequence[Mapping[str, float]] = (),
    ) -> bool:
        """Store how the trial ended; False if it was requeued meanwhile: then nothing is stored."""
        notes: dict[str, object] = {"reason": reason} if reason else {}
        notes["curve"] = [*curve]
        if accuracy is not None:
            notes["val_accuracy"] = accuracy
        return self._tell(trial, notes, value, state)

    def choose_flip(self, trial: optuna.Trial, choices: Sequence[bool]) -> bool:
        """Whether the trial flips images; noted in it, so that it is the same after a requeue.

        The first slots have equal settings and try one choice each. The others take the choice of
        the better one, or the first choice while no such trial is complete.
        """
        from optuna.trial import TrialState

        by_slot = self._by_slot()
        slot, chosen = trial.user_attrs["slot"], choices[0]
        if slot < len(choices):
            chosen = choices[slot]
        else:
            pair = [t for k in range(len(choices)) if (t := _owner(by_slot[k]))]
            complete = [t for t in pair if t.state == TrialState.COMPLETE]
            if complete:
                best = min(complete, key=lambda t: (t.value, t.user_attrs["slot"]))
                chosen = best.user_attrs["horizontal_flip"]
        trial.set_user_attr("horizontal_flip", chosen)
        return chosen

    def reclaim_stale(self) -> None:
        """Fail running trials whose process has ended, or cannot be seen and gives no heartbeat."""
        from optuna.trial import TrialState

        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        outages = getattr(self.study._storage, "outages", 0)
        if outages != self._outages:  # of a database: meanwhile nobody could give a heartbeat
            self._heard.clear()
        self._outages, now = outages, time.monotonic()
        for trial in running:
            notes = trial.user_attrs
            heartbeat, since = self._heard.get(trial.number, (None, now))
            if heartbeat != notes.get("heartbeat"):
                since = now
            self._heard[trial.number] = (notes.get("heartbeat"), since)
            if has_ended(notes.get("process", "")) or now - since > STALE_SECONDS:
                self._requeue(trial)

    def _requeue(self, lost: FrozenTrial) -> None:
        """Fail a trial that lost its worker; if that worker is back, it was no retry."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        why = RESTARTED if lost.user_attrs.get("worker", self.worker) == self.worker else ""
        # Somebody else was faster, or it ended after all.
        with suppress(UpdateFinishedTrialError, ValueError):
            if why:
                self.study._storage.set_trial_user_attr(lost._trial_id, "lost", why)
            self.study.tell(lost.number, state=TrialState.FAIL)
            print(f"tune      trial {lost.number} requeued: {why or WORKER_LOST}", flush=True)

    def _tell(
        self,
        trial: optuna.Trial,
        notes: Mapping[str, object],
        value: float | None,
        state: optuna.trial.TrialState,
    ) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            for name, note in {"heartbeat": time.time(), **notes}.items():
                trial.set_user_attr(name, note)
            self.study.tell(trial, value, state=state)
        except (UpdateFinishedTrialError, ValueError):
            found = self.study.trials[trial.number]
            if found.state.is_finished():
                # Stored after all, if a lost answer had it told twice.
                return found.state == state and notes.keys() <= found.user_attrs.keys()
            raise
        return True

    def running(self) -> int:
        """Number of trials that run now, in any worker."""
        from optuna.trial import TrialState

        return len(self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def complete(self) -> list[FrozenTrial]:
        """Trials that ran their whole schedule."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def finished(self) -> list[FrozenTrial]:
        """The trials that used up their slots."""
        owners = [_owner(trials) for trials in self._by_slot().values()]
        return [trial for trial in owners if trial and trial.state.is_finished()]

    def started(self) -> list[FrozenTrial]:
        """Every trial that a worker claimed, lost ones included."""
        return [t for t in self.study.get_trials(deepcopy=False) if "worker" in t.user_attrs]

    def used_seconds(self) -> float:
        """Time in which at least one trial ran; pauses and lost time are left out."""
        # Until the last heartbeat, by the worker's clock: Optuna notes times without time zone.
        notes = [trial.user_attrs for trial in self.started()]
        return covered(
            (note["started"], note["heartbeat"]) for note in notes if "heartbeat" in note
        )

    def _by_slot(self) -> dict[int, list[FrozenTrial]]:
        """Slot -> its trials, oldest first."""
        found: dict[int, list[FrozenTrial]] = {slot: [] for slot in range(self.slots)}
        for trial in self.study.get_trials(deepcopy=False):
            found.get(trial.user_attrs.get("slot", -1), []).append(trial)
        return found


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals (start, end), in their unit."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def reason(trial: FrozenTrial) -> str:
    """Why a trial ended before its schedule did; empty when it did not."""
    from optuna.trial import TrialState

    notes = trial.user_attrs
    lost = WORKER_LOST if trial.state == TrialState.FAIL else ""
    return str(notes.get("reason") or notes.get("lost") or lost)


def _lost(trial: FrozenTrial) -> bool:
    """Whether it ended for a reason that is not its own."""
    from optuna.trial import TrialState

    return trial.state == TrialState.FAIL and "reason" not in trial.user_attrs


def _owner(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The trial that a slot belongs to: every worker sees the same one, whoever queued it.

    Args:
        trials: those of the slot, oldest first.
    """
    kept = [trial for trial in trials if not _lost(trial)]
    without_worker = [trial for trial in trials if _lost(trial) and "lost" not in trial.user_attrs]
    return next(iter(kept or without_worker[MAX_RETRIES:]), None)
