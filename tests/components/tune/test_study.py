"""Slots, leases and deaths, on a real study in a journal file."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from components.core.errors import InvalidParams, PipelineError
from components.tune import search, study
from components.tune.study import (
    DUPLICATE,
    RELEASED,
    WORKER_LOST,
    Heartbeat,
    TrialQueue,
    covered,
    reason,
)
from tests.components.tune import crew


@pytest.fixture
def roster(tmp_path: Path) -> Iterator[TrialQueue]:
    with search.open_study(tmp_path / "study.journal", crew.make_task(3), worker=0) as opened:
        yield opened


def open_another(tmp_path: Path, worker: int) -> TrialQueue:
    with search.open_study(tmp_path / "study.journal", crew.make_task(3), worker) as opened:
        return opened


def begin(roster: TrialQueue) -> optuna.Trial:
    assert roster.fill()
    trial = roster.take()
    assert trial is not None
    return trial


def draw(trial: optuna.Trial) -> float:
    return trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)


def test_the_first_slot_has_the_known_good_settings_and_the_others_are_drawn(
    roster: TrialQueue,
) -> None:
    rates = [draw(begin(roster)) for _ in range(3)]
    assert rates[0] == 1e-3
    assert len(set(rates)) == 3
    assert not roster.fill()


def test_a_slot_is_queued_once_however_often_and_by_whomever_it_is_asked_for(
    roster: TrialQueue, tmp_path: Path
) -> None:
    other = open_another(tmp_path, 1)
    assert roster.fill()
    assert other.fill()
    assert roster.fill()
    assert len(roster.study.trials) == 3


def test_of_two_trials_for_one_slot_only_the_first_runs(roster: TrialQueue) -> None:
    assert roster.fill()
    roster.study.enqueue_trial({}, user_attrs={"slot": 1})  # as two workers do at the same moment
    numbers = [trial.number for _ in range(4) if (trial := roster.take())]
    assert numbers == [0, 1, 2]
    assert reason(roster.study.trials[3]) == DUPLICATE
    assert not roster.fill()


def test_a_trial_nobody_queued_is_not_run(roster: TrialQueue) -> None:
    assert roster.take() is None  # asked when nothing waits: Optuna makes a new trial
    assert roster.tried() == []
    assert roster.begun() == []


def test_a_returned_trial_is_run_again_with_its_settings_by_anybody(
    roster: TrialQueue, tmp_path: Path
) -> None:
    begin(roster)
    trial = begin(roster)
    rate = draw(trial)
    roster.give_back(trial, RELEASED)
    other = open_another(tmp_path, 1)
    assert reason(other.study.trials[trial.number]) == RELEASED
    seen = [draw(begin(other)) for _ in range(2)]
    assert rate in seen
    assert not other.fill()


def test_own_trials_of_an_earlier_life_are_taken_back_at_once(
    roster: TrialQueue, tmp_path: Path
) -> None:
    rate = draw(begin(roster))
    again = open_another(tmp_path, 0)
    again.reap()
    assert reason(again.study.trials[0]) == WORKER_LOST
    assert rate in [draw(begin(again)) for _ in range(3)]


def test_the_trials_of_others_are_taken_back_only_after_silence(
    roster: TrialQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = begin(roster)
    other = open_another(tmp_path, 1)
    clock = [1000.0]
    monkeypatch.setattr("components.tune.study.time.monotonic", lambda: clock[0])
    other.reap()
    clock[0] += study.STALE_SECONDS - 1
    other.reap()
    assert other.running() == 1
    trial.set_user_attr("beat", 12.0)  # by whatever clock: only that it changes is looked at
    clock[0] += 2
    other.reap()
    clock[0] += study.STALE_SECONDS
    other.reap()
    assert other.running() == 1
    clock[0] += 1
    other.reap()
    assert other.running() == 0


def test_a_worker_killed_before_it_signed_is_taken_back_after_silence(
    roster: TrialQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert roster.fill()
    roster.study.ask()
    clock = [0.0]
    monkeypatch.setattr("components.tune.study.time.monotonic", lambda: clock[0])
    roster.reap()
    clock[0] = study.STALE_SECONDS + 1
    roster.reap()
    assert roster.running() == 0
    assert roster.fill()


def test_a_late_answer_of_a_trial_that_was_taken_back_is_dropped(
    roster: TrialQueue, tmp_path: Path
) -> None:
    trial = begin(roster)
    draw(trial)
    open_another(tmp_path, 0).reap()
    assert not roster.end(trial, TrialState.COMPLETE, 0.1)
    assert not roster.end(trial, TrialState.FAIL, why="diverged")
    assert roster.complete() == []


def test_a_value_that_is_none_is_our_bug_and_not_taken_for_a_lost_trial(roster: TrialQueue) -> None:
    with pytest.raises(ValueError, match="values"):
        roster.end(begin(roster), TrialState.COMPLETE, None)


def test_a_trial_that_takes_three_workers_with_it_uses_its_slot_up(
    roster: TrialQueue, tmp_path: Path
) -> None:
    rates = set()
    for _ in range(3 * study.MAX_RETRIES):
        rates.add(draw(begin(roster)))
        roster = open_another(tmp_path, 0)
        roster.reap()
    assert not roster.fill()
    assert len(rates) == 3
    assert [reason(trial) for trial in roster.tried()] == [WORKER_LOST] * 3
    with pytest.raises(PipelineError, match=f"none of 3 trials was completed .{WORKER_LOST}"):
        search.winner(roster, crew.make_task(3))


def test_trials_that_were_given_back_do_not_count_as_deaths(roster: TrialQueue) -> None:
    for _ in range(study.MAX_RETRIES + 1):
        roster.give_back(begin(roster), RELEASED)
    assert roster.fill()
    assert roster.tried() == []


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(roster: TrialQueue) -> None:
    for _ in range(3):
        assert roster.end(begin(roster), TrialState.PRUNED, why="slow")
    assert not roster.fill()
    more = TrialQueue(roster.study, 0, 5, roster.first)
    assert more.fill()
    assert [trial.number for _ in range(2) if (trial := more.take())] == [3, 4]


def test_the_lease_beats_while_the_trial_runs_and_ends_with_it(
    roster: TrialQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "HEARTBEAT_SECONDS", 0.05)
    trial = begin(roster)
    before = roster.study.trials[0].user_attrs["beat"]
    with Heartbeat(trial) as lease:
        deadline = time.monotonic() + 20
        while roster.study.trials[0].user_attrs["beat"] == before:
            assert time.monotonic() < deadline, "no beat"
            time.sleep(0.02)
    assert not lease.lost
    last = roster.study.trials[0].user_attrs["beat"]
    time.sleep(0.2)
    assert roster.study.trials[0].user_attrs["beat"] == last


def test_the_lease_notes_that_its_trial_was_taken_back(
    roster: TrialQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "HEARTBEAT_SECONDS", 0.05)
    with Heartbeat(begin(roster)) as lease:
        open_another(tmp_path, 0).reap()
        deadline = time.monotonic() + 20
        while not lease.lost:
            assert time.monotonic() < deadline, "not noticed"
            time.sleep(0.02)


def test_seconds_are_those_in_which_a_trial_was_at_work(roster: TrialQueue, tmp_path: Path) -> None:
    trial = begin(roster)
    time.sleep(0.4)
    assert roster.end(trial, TrialState.PRUNED, why="slow")
    used = roster.used_seconds()
    assert 0.35 < used < 5
    dead = begin(roster)  # its only beat is its first
    time.sleep(1)
    again = open_another(tmp_path, 0)
    again.reap()
    assert reason(again.study.trials[dead.number]) == WORKER_LOST
    assert again.used_seconds() < used + 0.5


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
    seconds = {second for begin, end in intervals for second in range(begin, end)}
    assert covered(intervals) == len(seconds)


def test_worker_0_waits_for_the_trials_of_others_and_says_so_once(
    roster: TrialQueue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(search, "_train", crew.nap)
    monkeypatch.setattr(search, "_PAUSE_SECONDS", 0.05)
    other = open_another(tmp_path, 1)
    trial = begin(other)
    draw(trial)
    ending = threading.Timer(2, lambda: other.end(trial, TrialState.COMPLETE, 0.5))
    ending.start()
    search.run_trials(roster, crew.make_task(3), crew.Silence(), wait=True)  # type: ignore[arg-type]
    assert not ending.is_alive()
    assert capsys.readouterr().out.count("waiting for 1 trials of other workers") == 1
    assert len(roster.complete()) == 3


@pytest.mark.parametrize("workers", [(1, 2, 3), (1, 1, 1), (2, 1, 2)])
def test_workers_and_sessions_draw_from_different_seeds(
    workers: tuple[int, ...], tmp_path: Path
) -> None:
    drawn = [begin(open_another(tmp_path, k)).suggest_float("weight", 0, 1) for k in workers]
    assert len(set(drawn)) == 3


def test_trials_on_other_hardware_are_not_mixed_in(tmp_path: Path) -> None:
    from dataclasses import replace

    task = crew.make_task(3)
    journal = tmp_path / "study.journal"
    with search.open_study(journal, task, 0):
        pass
    other = replace(task, plan=replace(task.plan, device="cuda", precision="bf16"))
    with (
        pytest.raises(
            InvalidParams, match="ran on cpu in fp32, this machine would use cuda in bf16"
        ),
        search.open_study(journal, other, 0),
    ):
        pass
