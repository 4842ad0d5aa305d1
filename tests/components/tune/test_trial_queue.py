"""Slots, heartbeats and lost workers, on a real study in a journal file."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from components.core.errors import InvalidParams, PipelineError
from components.tune import search, trial_queue
from components.tune.heartbeat import Heartbeat
from components.tune.trial_queue import (
    DUPLICATE,
    RELEASED,
    RESTARTED,
    WORKER_LOST,
    TrialQueue,
    covered,
    reason,
)
from tests.components.tune import workers


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[TrialQueue]:
    with search.open_study(tmp_path / "study.journal", workers.make_context(3), worker=0) as opened:
        yield opened


def open_another(tmp_path: Path, worker: int) -> TrialQueue:
    with search.open_study(tmp_path / "study.journal", workers.make_context(3), worker) as opened:
        return opened


def claim(queue: TrialQueue) -> optuna.Trial:
    assert queue.enqueue_missing()
    trial = queue.claim()
    assert trial is not None
    return trial


def suggest_rate(trial: optuna.Trial) -> float:
    return trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)


def test_the_first_slot_has_the_default_settings_and_the_sampler_chooses_the_others(
    queue: TrialQueue,
) -> None:
    rates = [suggest_rate(claim(queue)) for _ in range(3)]
    assert rates[0] == 1e-3
    assert len(set(rates)) == 3
    assert not queue.enqueue_missing()


FLIPS = (False, True)


def complete(queue: TrialQueue, value: float) -> bool:
    """Claim the next trial, let it end with this loss; whether it flipped."""
    trial = claim(queue)
    flip = queue.choose_flip(trial, FLIPS)
    assert queue.tell(trial, TrialState.COMPLETE, value)
    return flip


@pytest.mark.parametrize(("losses", "kept"), [((0.5, 0.4), True), ((0.4, 0.5), False)])
def test_trials_after_the_pair_flip_as_the_better_one_of_it(
    queue: TrialQueue, losses: tuple[float, float], kept: bool
) -> None:
    assert [complete(queue, loss) for loss in losses] == [False, True]
    assert complete(queue, 0.1) is kept


def test_a_flip_that_no_trial_completed_with_is_not_used(queue: TrialQueue) -> None:
    complete(queue, 0.5)
    second = claim(queue)
    assert queue.choose_flip(second, FLIPS) is True
    assert queue.tell(second, TrialState.PRUNED, reason="worse than the median")
    assert queue.choose_flip(claim(queue), FLIPS) is False


def test_while_the_pair_still_runs_no_other_trial_flips(queue: TrialQueue) -> None:
    first, second, third = claim(queue), claim(queue), claim(queue)
    assert [queue.choose_flip(t, FLIPS) for t in (first, second, third)] == [False, True, False]


def test_a_flip_that_is_set_is_everyones(queue: TrialQueue) -> None:
    assert {queue.choose_flip(claim(queue), (True,)) for _ in range(3)} == {True}


def test_a_slot_is_enqueued_once_however_often_and_by_whichever_worker(
    queue: TrialQueue, tmp_path: Path
) -> None:
    other = open_another(tmp_path, 1)
    assert queue.enqueue_missing()
    assert other.enqueue_missing()
    assert queue.enqueue_missing()
    assert [trial.user_attrs["slot"] for trial in queue.study.trials] == [0]


def test_of_two_trials_for_one_slot_only_the_first_runs(queue: TrialQueue) -> None:
    assert queue.enqueue_missing()
    queue.study.enqueue_trial({}, user_attrs={"slot": 0})  # as two workers do at the same moment
    numbers = [trial.number for _ in range(2) if (trial := queue.claim())]
    assert numbers == [0]
    assert reason(queue.study.trials[1]) == DUPLICATE
    assert claim(queue).user_attrs["slot"] == 1


def test_a_trial_that_nobody_enqueued_is_not_run(queue: TrialQueue) -> None:
    assert queue.claim() is None  # asked when nothing waits: Optuna makes a new trial
    assert queue.finished() == []
    assert queue.started() == []


def test_a_released_trial_is_run_again_with_its_settings_by_any_worker(
    queue: TrialQueue, tmp_path: Path
) -> None:
    claim(queue)
    trial = claim(queue)
    rate = suggest_rate(trial)
    queue.release(trial, RELEASED)
    other = open_another(tmp_path, 1)
    assert reason(other.study.trials[trial.number]) == RELEASED
    assert suggest_rate(claim(other)) == rate
    claim(other)
    assert not other.enqueue_missing()


def test_own_trials_of_an_earlier_process_are_requeued_at_once_and_that_is_no_retry(
    queue: TrialQueue, tmp_path: Path, dead: None
) -> None:
    rates = set()
    for number in range(trial_queue.MAX_RETRIES + 3):
        rates.add(suggest_rate(claim(queue)))
        queue = open_another(tmp_path, 0)
        queue.reclaim_stale()
        assert reason(queue.study.trials[number]) == RESTARTED
    assert len(rates) == 1
    assert claim(queue).user_attrs["slot"] == 0


@pytest.mark.row("T13")
def test_two_live_workers_of_one_number_leave_each_others_trials_alone(
    queue: TrialQueue, tmp_path: Path
) -> None:
    trial = claim(queue)
    suggest_rate(trial)
    other = open_another(tmp_path, 0)
    other.reclaim_stale()
    assert other.running() == 1
    assert claim(other).user_attrs["slot"] == 1
    assert queue.tell(trial, TrialState.COMPLETE, 0.1)


def test_a_trial_that_is_requeued_while_it_is_claimed_is_left_to_the_others(
    queue: TrialQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = queue.study.ask

    def ask_and_requeue() -> optuna.Trial:
        trial = ask()
        queue.study.tell(trial.number, state=TrialState.FAIL)
        return trial

    assert queue.enqueue_missing()
    monkeypatch.setattr(queue.study, "ask", ask_and_requeue)
    assert queue.claim() is None


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process that ran a trial is known to be gone."""
    monkeypatch.setattr(trial_queue, "has_ended", lambda process: process != "")


@pytest.mark.row("T12")
def test_trials_of_other_workers_are_requeued_only_when_their_heartbeat_is_lost(
    queue: TrialQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = claim(queue)
    other = open_another(tmp_path, 1)
    clock = [1000.0]
    monkeypatch.setattr("components.tune.trial_queue.time.monotonic", lambda: clock[0])
    other.reclaim_stale()
    clock[0] += trial_queue.STALE_SECONDS - 1
    other.reclaim_stale()
    assert other.running() == 1
    trial.set_user_attr("heartbeat", 12.0)  # by whatever clock: it only has to change
    clock[0] += 2
    other.reclaim_stale()
    clock[0] += trial_queue.STALE_SECONDS
    other.reclaim_stale()
    assert other.running() == 1
    clock[0] += 1
    other.reclaim_stale()
    assert other.running() == 0


@pytest.mark.row("T04")
def test_a_heartbeat_that_a_lost_database_kept_back_is_not_missed(
    queue: TrialQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(queue)
    other = open_another(tmp_path, 1)
    clock = [1000.0]
    monkeypatch.setattr("components.tune.trial_queue.time.monotonic", lambda: clock[0])
    other.reclaim_stale()
    clock[0] += trial_queue.STALE_SECONDS + 1
    monkeypatch.setattr(other.study._storage, "outages", 1, raising=False)
    other.reclaim_stale()
    assert other.running() == 1
    clock[0] += trial_queue.STALE_SECONDS + 1
    other.reclaim_stale()
    assert other.running() == 0


@pytest.mark.row("T04")
def test_a_result_whose_first_answer_was_lost_counts(queue: TrialQueue) -> None:
    trial = claim(queue)
    assert queue.tell(trial, TrialState.COMPLETE, 0.1, accuracy=0.5)
    assert queue.tell(trial, TrialState.COMPLETE, 0.1, accuracy=0.5)
    assert [each.value for each in queue.complete()] == [0.1]


@pytest.mark.row("T02")
def test_a_trial_whose_worker_was_killed_before_its_first_heartbeat_is_requeued(
    queue: TrialQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.study.enqueue_trial({}, user_attrs={"slot": 0})
    queue.study.ask()
    clock = [0.0]
    monkeypatch.setattr("components.tune.trial_queue.time.monotonic", lambda: clock[0])
    queue.reclaim_stale()
    clock[0] = trial_queue.STALE_SECONDS + 1
    queue.reclaim_stale()
    assert queue.running() == 0
    assert queue.enqueue_missing()


@pytest.mark.row("T05")
def test_a_late_result_of_a_requeued_trial_is_dropped(
    queue: TrialQueue, tmp_path: Path, dead: None
) -> None:
    trial = claim(queue)
    suggest_rate(trial)
    open_another(tmp_path, 0).reclaim_stale()
    assert not queue.tell(trial, TrialState.COMPLETE, 0.1)
    assert not queue.tell(trial, TrialState.FAIL, reason="diverged")
    assert queue.complete() == []


def test_a_value_of_none_is_a_bug_and_not_taken_for_a_lost_trial(queue: TrialQueue) -> None:
    with pytest.raises(ValueError, match="values"):
        queue.tell(claim(queue), TrialState.COMPLETE, None)


def test_a_trial_that_loses_three_workers_uses_its_slot_up(
    queue: TrialQueue, tmp_path: Path, dead: None
) -> None:
    rates = set()
    for turn in range(1, 1 + 3 * (trial_queue.MAX_RETRIES + 1)):
        rates.add(suggest_rate(claim(queue)))
        queue = open_another(tmp_path, turn)
        queue.reclaim_stale()
    assert not queue.enqueue_missing()
    assert len(rates) == 3
    assert [reason(trial) for trial in queue.finished()] == [WORKER_LOST] * 3
    message = (
        rf"none of 3 trials in \S+/study.journal is complete .{WORKER_LOST}.*delete it and run"
    )
    with pytest.raises(PipelineError, match=message):
        search.best_hyperparameters(queue, workers.make_context(3))


def test_released_trials_do_not_count_as_retries(queue: TrialQueue) -> None:
    for _ in range(trial_queue.MAX_RETRIES + 2):
        queue.release(claim(queue), RELEASED)
    assert queue.enqueue_missing()
    assert queue.finished() == []


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(queue: TrialQueue) -> None:
    for _ in range(3):
        assert queue.tell(claim(queue), TrialState.PRUNED, reason="slow")
    assert not queue.enqueue_missing()
    more = replace(queue, slots=5)
    assert [claim(more).number for _ in range(2)] == [3, 4]


def test_the_heartbeat_goes_on_while_the_trial_runs_and_ends_with_it(
    queue: TrialQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.tune.heartbeat.HEARTBEAT_SECONDS", 0.05)
    trial = claim(queue)
    before = queue.study.trials[0].user_attrs["heartbeat"]
    with Heartbeat(trial) as heartbeat:
        deadline = time.monotonic() + 60
        while queue.study.trials[0].user_attrs["heartbeat"] == before:
            assert time.monotonic() < deadline, "no heartbeat"
            time.sleep(0.02)
    assert not heartbeat.lost
    last = queue.study.trials[0].user_attrs["heartbeat"]
    time.sleep(0.2)
    assert queue.study.trials[0].user_attrs["heartbeat"] == last


@pytest.mark.row("T05")
def test_the_heartbeat_notices_that_its_trial_was_requeued(
    queue: TrialQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: None
) -> None:
    monkeypatch.setattr("components.tune.heartbeat.HEARTBEAT_SECONDS", 0.05)
    with Heartbeat(claim(queue)) as heartbeat:
        open_another(tmp_path, 0).reclaim_stale()
        deadline = time.monotonic() + 60
        while not heartbeat.lost:
            assert time.monotonic() < deadline, "not noticed"
            time.sleep(0.02)


def test_used_seconds_are_those_in_which_a_trial_ran(
    queue: TrialQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: None
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("components.tune.trial_queue.time.time", lambda: clock[0])
    trial = claim(queue)
    clock[0] += 4
    assert queue.tell(trial, TrialState.PRUNED, reason="slow")
    assert queue.used_seconds() == 4
    clock[0] += 100
    lost = claim(queue)  # its only heartbeat is its first
    clock[0] += 10
    again = open_another(tmp_path, 1)
    again.reclaim_stale()
    assert reason(again.study.trials[lost.number]) == WORKER_LOST
    assert again.used_seconds() == 4


@pytest.mark.parametrize(
    ("intervals", "length"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (2, 5)], 4),
        ([(2, 5), (1, 3), (2, 4)], 4),
        ([(0, 1), (10, 12)], 3),
        ([(5, 4)], 0),  # a clock that was set back
    ],
)
def test_the_length_of_a_union_of_intervals(
    intervals: list[tuple[float, float]], length: float
) -> None:
    assert covered(intervals) == length


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_the_length_of_a_union_is_the_number_of_seconds_in_any_interval(
    intervals: list[tuple[int, int]],
) -> None:
    seconds = {second for start, end in intervals for second in range(start, end)}
    assert covered(intervals) == len(seconds)


def test_worker_0_waits_for_the_trials_of_others_and_says_so_once(
    queue: TrialQueue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(search, "_train", workers.nap)
    monkeypatch.setattr(search, "_POLL_SECONDS", 0.05)
    other = open_another(tmp_path, 1)
    trial = claim(other)
    suggest_rate(trial)
    ending = threading.Timer(1, lambda: other.tell(trial, TrialState.COMPLETE, 0.5))
    ending.start()
    search.run_trials(queue, workers.make_context(3), workers.Unlogged(), wait=True)  # type: ignore[arg-type]
    assert capsys.readouterr().out.count("trials of other workers still running: 1") == 1
    assert len(queue.complete()) == 3


def test_the_trial_of_a_lost_pod_is_run_again_before_any_later_one(
    queue: TrialQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_train", workers.nap)
    monkeypatch.setattr(search, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(trial_queue, "STALE_SECONDS", 0.5)
    claim(queue).set_user_attr("process", "pod-1 pid:[1] 1 1")
    search.run_trials(queue, workers.make_context(3), workers.Unlogged(), wait=True)  # type: ignore[arg-type]
    assert [trial.user_attrs["slot"] for trial in queue.study.trials] == [0, 0, 1, 2]
    assert reason(queue.study.trials[0]) == RESTARTED


@pytest.mark.row("T14")
@pytest.mark.parametrize("workers", [(1, 2, 3), (1, 1, 1), (2, 1, 2)])
def test_what_is_drawn_differs_between_slots_and_not_between_workers(
    workers: tuple[int, ...], tmp_path: Path
) -> None:
    drawn = [claim(open_another(tmp_path, k)).suggest_float("weight", 0, 1) for k in workers]
    again = [claim(open_another(tmp_path / "b", 0)).suggest_float("weight", 0, 1) for _ in drawn]
    assert len(set(drawn)) == 3
    assert drawn == again


@pytest.mark.row("T01", "T14")
def test_a_search_that_is_killed_again_and_again_finds_the_same_as_one_that_is_not(
    tmp_path: Path,
) -> None:
    budget = 14  # more than the ten after which the sampler begins to learn
    whole, broken = tmp_path / "whole/study.journal", tmp_path / "broken/study.journal"
    workers.run_worker_to_the_end(whole, budget)
    queue = workers.open_queue(broken, budget)
    processes = [workers.start(broken, 0, budget, True)]
    kills = workers.kill_some(
        queue, processes, 12, lambda _: workers.start(broken, 0, budget, True)
    )
    processes[0].join()
    assert processes[0].exitcode == 0
    assert kills > 3
    expected, found = (
        workers.finished_trials(workers.open_queue(journal, budget)) for journal in (whole, broken)
    )
    assert [(t.params, t.value) for t in found] == [(t.params, t.value) for t in expected]


def test_trials_on_other_hardware_are_not_mixed_in(tmp_path: Path) -> None:
    context = workers.make_context(3)
    journal = tmp_path / "study.journal"
    with search.open_study(journal, context, 0):
        pass
    other = replace(context, config=replace(context.config, device="cuda", precision="bf16"))
    with (
        pytest.raises(
            InvalidParams, match="ran on cpu in fp32, this machine would use cuda in bf16"
        ),
        search.open_study(journal, other, 0),
    ):
        pass
