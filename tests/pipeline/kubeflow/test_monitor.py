from datetime import UTC, datetime, timedelta

import pytest

from pipeline.kubeflow.monitor import PipelineRun, RunMonitor, TaskStatus, duration

STARTED = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def task(name: str, state: str, start: int | None = None, end: int | None = None) -> TaskStatus:
    return TaskStatus(f"{name}-{start}", name, state, moment(start), moment(end))


def moment(second: int | None) -> datetime | None:
    return None if second is None else STARTED + timedelta(seconds=second)


def run(*tasks: TaskStatus, steps: tuple[str, ...] = ("fetch", "train")) -> PipelineRun:
    return PipelineRun("r", "RUNNING", STARTED, "", {name: name for name in steps}, tasks)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (9.6, "0:10"), (75, "1:15"), (3599, "59:59"), (3723, "1:02:03"), (-1, "0:00")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_changes_are_reported_once_and_in_the_order_in_which_they_happened() -> None:
    monitor = RunMonitor()
    first = run(task("train", "RUNNING", 80), task("fetch", "SUCCEEDED", 5, 65))
    assert list(monitor.changes(first)) == [
        "    1:05  fetch          succeeded after 1:00",
        "    1:20  train          running",
    ]
    assert list(monitor.changes(first)) == []


def test_a_step_that_waits_is_reported_when_it_starts() -> None:
    monitor = RunMonitor()
    assert list(monitor.changes(run(task("fetch", "PENDING")))) == []
    assert list(monitor.changes(run(task("fetch", "CANCELED")))) == [
        "       -  fetch          canceled"
    ]


def test_steps_behind_a_failed_one_are_no_news_but_are_known() -> None:
    seen = run(task("fetch", "FAILED", 5, 10), task("train", "", 10), steps=("fetch", "train", "x"))
    assert [found.name for found in seen.relevant()] == ["fetch"]
    assert seen.never_ran() == ["train", "x"]
    assert [line.split()[1] for line in RunMonitor().changes(seen)] == ["fetch"]
    skipped = run(task("fetch", "FAILED", 5, 10), task("train", "SKIPPED", 10, 10))
    assert skipped.never_ran() == ["train"]
    assert [line.split()[1] for line in RunMonitor().changes(skipped)] == ["fetch"]


def test_drivers_matter_only_when_they_fail_and_only_those_of_steps() -> None:
    seen = run(
        task("fetch-driver", "SUCCEEDED", 1, 2),
        task("train-driver", "FAILED", 1, 2),
        task("root-driver", "FAILED", 1, 2),
    )
    assert [found.name for found in seen.relevant()] == ["train-driver"]
    assert [found.name for found in seen.failed()] == ["train-driver"]


def test_without_a_known_graph_every_task_is_reported() -> None:
    seen = run(task("anything", "RUNNING", 1), steps=())
    assert [found.name for found in seen.relevant()] == ["anything"]
