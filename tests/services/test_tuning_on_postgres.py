"""Workers of one search that meet in PostgreSQL, and are killed while they do."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine, text

from components.tune import storage, trial_queue
from tests.components.tune import workers
from tests.pipeline.test_tune_workers import find
from tests.services.overlay import Services
from tests.services.servers import Postgres
from tests.services.user_project import Published

pytestmark = pytest.mark.services


@pytest.fixture
def database(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty database of its own for each test."""
    name = f"tune_{uuid.uuid4().hex}"
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    address = f"{postgres.rpartition('/')[0]}/{name}"
    monkeypatch.setenv(storage.VARIABLE, address)
    yield address
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def join(processes: list[Any], seconds: float = 120) -> list[int]:
    for process in processes:
        process.join(seconds)
    return [process.exitcode for process in processes]


@pytest.mark.row("T13")
def test_workers_that_start_together_on_an_empty_database_share_the_budget(
    database: str, tmp_path: Path
) -> None:
    with workers.running(database, workers=4, num_trials=16) as processes:
        assert join(processes) == [0, 0, 0, 0]
    finished = workers.finished_trials(workers.open_queue(tmp_path, 16))
    assert [trial.state for trial in finished] == [TrialState.COMPLETE] * 16
    assert len({trial.user_attrs["worker"] for trial in finished}) > 1
    assert len({trial.params["learning_rate"] for trial in finished}) == 16


def test_of_three_workers_one_is_killed_and_its_trial_is_run_by_another(
    database: str, tmp_path: Path
) -> None:
    with workers.running(database, workers=3, num_trials=9) as processes:
        processes[2].join(1.5)
        processes[2].kill()
        assert join(processes)[:2] == [0, 0]
    finished = workers.finished_trials(workers.open_queue(tmp_path, 9))
    assert [trial.state for trial in finished] == [TrialState.COMPLETE] * 9


@pytest.mark.row("T01")
def test_no_trial_is_lost_or_counted_twice_under_fifty_kills(database: str, tmp_path: Path) -> None:
    budget = 60
    queue = workers.open_queue(tmp_path, budget)
    with workers.running(database, workers=3, num_trials=budget, wait=True) as processes:
        kills = workers.kill_some(
            queue, processes, 50, lambda k: workers.start(database, k, budget, True)
        )
        assert join(processes, 300) == [0, 0, 0]
    finished = workers.finished_trials(queue)
    dead = [t for t in queue.study.trials if trial_queue.reason(t) == trial_queue.WORKER_LOST]
    print(f"{kills} kills, {len(dead)} trials requeued")
    assert kills >= 20
    assert dead
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    assert len(complete) + sum(t.state == TrialState.FAIL for t in finished) == budget
    assert len({trial.params["learning_rate"] for trial in complete}) == len(complete)


@pytest.mark.row("T04")
def test_connections_that_are_cut_cost_no_trial(database: str, tmp_path: Path) -> None:
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    engine = create_engine(database)
    with workers.running(database, workers=2, num_trials=12) as processes:
        for _ in range(3):
            processes[1].join(1)
            with engine.connect() as connection:
                connection.execute(cut)
        codes = join(processes)
    engine.dispose()
    assert codes == [0, 0]
    assert len(workers.finished_trials(workers.open_queue(tmp_path, 12))) == 12


@pytest.mark.row("T04")
@pytest.mark.timeout(600)
def test_a_database_that_restarts_ends_no_worker(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "restarted-postgres"
    place.mkdir()
    server = Postgres(place, "tune")
    server.start()
    try:
        address = f"postgresql://tune@127.0.0.1:{server.port}/postgres"
        monkeypatch.setenv(storage.VARIABLE, address)
        before = workers.open_queue(tmp_path, 12)
        with workers.running(address, workers=2, num_trials=12) as processes:
            while not before.finished():
                processes[1].join(0.2)
            server.end()
            processes[1].join(5)
            running = [process.is_alive() for process in processes]
            server.start()
            codes = join(processes)
        assert (running, codes) == ([True, True], [0, 0])
        assert len(workers.finished_trials(workers.open_queue(tmp_path, 12))) == 12
    finally:
        server.end()


@pytest.mark.timeout(900)
def test_three_real_workers_of_whom_one_is_killed_tune_through_tls_and_mlflow(
    services: Services, published: Published, folder: Path
) -> None:
    project = published.fetch(folder / "crowd", services)
    project.set_params({"tune.num_trials": 6, "tune.epochs": [3, 6], "tune.timeout_seconds": 600})
    project.run("dvc", "repro", "validate")
    password = (services.secret("postgres-optuna") / "password").read_text()
    authority = services.secret("internal-ca") / "ca.crt"
    project.environment[storage.VARIABLE] = (
        f"postgresql://optuna:{password}@localhost:{services.postgres.port}/optuna"
        f"?sslmode=verify-full&sslrootcert={authority}"
    )
    words = [sys.executable, "-m", "pipeline", "tune", "--workers", "3"]
    with subprocess.Popen(
        words, cwd=project.root, env=project.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        victim = busy_worker(services, process.pid)
        os.kill(victim, signal.SIGKILL)
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "ended with -9; the others ran its trials" in output
    with (project.root / "artifacts/tune/trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    ended = [row for row in rows if row["state"] in ("complete", "pruned")]
    assert len(ended) == 6, output
    assert [row["reason"] for row in rows if row["state"] == "fail"] == [trial_queue.WORKER_LOST]
    assert len({row["worker"] for row in ended}) >= 2
    assert not (project.root / "artifacts/tune/study.journal").exists()
    chosen = json.loads((project.root / "artifacts/tune/hyperparameters.json").read_text())
    parents = services.ask(
        f"SELECT DISTINCT run_uuid FROM tags WHERE value = '{chosen['study']}'"
    ).split()
    assert len(parents) == 1
    nested = f"key = 'mlflow.parentRunId' AND value = '{parents[0]}'"
    assert services.ask(f"SELECT count(*) FROM tags WHERE {nested}") == "6"
    again = project.run("dvc", "repro", "tune")
    assert "best of 6" in again
    assert "\ntrial " not in again


def busy_worker(services: Services, parent: int) -> int:
    """The process of a further worker that runs a trial."""
    deadline = time.monotonic() + 240
    query = (
        "SELECT a.value_json FROM trials t JOIN trial_user_attributes a USING (trial_id) "
        "WHERE t.state = 'RUNNING' AND a.key = 'worker' AND a.value_json <> '0' LIMIT 1"
    )
    made = "SELECT to_regclass('trial_user_attributes')"
    while time.monotonic() < deadline:
        if services.ask(made, "optuna") and (worker := services.ask(query, "optuna")):
            [found] = find(parent, worker)
            return found
        time.sleep(0.2)
    raise AssertionError("no further worker started a trial")
