"""A run that is opened beside other work ends as it would by itself."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from mlflow import MlflowClient

from components.core.errors import Diverged, Interrupted, PipelineError
from components.tracking.deferred import opened_aside
from components.tracking.runs import Run, open_run


def status_of(store: str, key: str) -> list[str]:
    client = MlflowClient(store)
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`pipeline.key` = '{key}'")
    return [run.info.status for run in runs]


def test_a_run_is_opened_by_a_thread_and_finished_here(store: str) -> None:
    where: list[int] = []

    @contextmanager
    def opened() -> Iterator[Run]:
        with open_run(kind="model", name="deferred", key="deferred") as run:
            where.append(threading.get_ident())
            yield run

    with opened_aside(opened()) as deferred:
        assert where == []  # nothing is opened before it is asked for
        deferred.advance()
        deferred.advance()
        deferred.get().metrics({"x": 1.0}, step=1)
        assert status_of(store, "deferred") == ["RUNNING"]
    assert len(where) == 1
    assert where[0] != threading.get_ident()
    assert status_of(store, "deferred") == ["FINISHED"]


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize(
    ("error", "status"), [(Diverged("nan"), "FAILED"), (Interrupted("stop", 15), "KILLED")]
)
def test_what_ends_the_work_ends_the_run(
    store: str, error: PipelineError, status: str, started: bool
) -> None:
    key = f"{status} {started}"

    def work() -> None:
        with opened_aside(open_run(kind="model", name="deferred", key=key)) as deferred:
            if started:
                deferred.advance()
            raise error

    with pytest.raises(type(error)):
        work()
    assert status_of(store, key) == [status]


class Refused(AbstractContextManager[Run]):
    """A run that cannot be opened."""

    def __enter__(self) -> Run:
        raise PipelineError("MLflow refuses")

    def __exit__(self, *_: object) -> None:
        pass


def test_work_stops_soon_when_the_run_cannot_be_opened() -> None:
    steps: list[int] = []

    def work() -> None:
        with opened_aside(Refused()) as deferred:
            for step in range(100_000):
                deferred.advance()
                steps.append(step)

    with pytest.raises(PipelineError, match="MLflow refuses"):
        work()
    assert len(steps) < 100_000


def test_an_error_of_the_work_comes_before_that_of_the_run() -> None:
    with pytest.raises(Diverged), opened_aside(Refused()):
        raise Diverged("nan")


def test_a_run_that_nobody_asked_for_is_opened_in_the_end(store: str) -> None:
    with opened_aside(open_run(kind="model", name="deferred", key="in the end")) as deferred:
        assert deferred is not None
    assert status_of(store, "in the end") == ["FINISHED"]
