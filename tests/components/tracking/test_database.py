"""MLflow's SQLite file is whole or absent, whatever happens while it is made."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from components.core.errors import PipelineError
from components.tracking import database
from components.tracking.store import open_store
from tests.processes import CONTEXT


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a store that nobody has opened yet, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path / "mlflow.db"


def open_once(folder: str, kill_at: int, barrier: Any) -> None:
    """Open the store; the process kills itself at this statement that MLflow executes."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    statements = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if barrier:
        barrier.wait()
    with open_store():
        pass


def run(file: Path, kill_at: int = 0, barrier: Any = None) -> Any:
    process = CONTEXT.Process(target=open_once, args=(str(file.parent), kill_at, barrier))
    process.start()
    return process


def tables(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return len(connection.execute("SELECT name FROM sqlite_master").fetchall())


@pytest.mark.row("N17")
@pytest.mark.parametrize("statement", [30, 150, 400])
def test_a_kill_while_it_is_made_costs_nothing(file: Path, statement: int) -> None:
    killed = run(file, kill_at=statement)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL, "MLflow executes more statements than that"
    assert not file.exists() or not file.stat().st_size
    with open_store() as store:
        assert store.client.get_experiment(store.experiment_id).name == "image-classification"
    assert not [path for path in file.parent.iterdir() if ".part" in path.name]


@pytest.mark.row("N17")
def test_two_first_runs_make_one_store(file: Path) -> None:
    barrier = CONTEXT.Barrier(2)
    both = [run(file, barrier=barrier) for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert database.schema_problem(file) == ""


@pytest.mark.row("N17")
def test_one_left_half_made_is_set_aside_by_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(file).join()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DELETE FROM experiments")
        connection.execute("DROP TABLE webhooks")
        connection.commit()
    assert database.is_half_made(file)
    with open_store():
        pass
    assert "moved to mlflow.db.half-made-1" in capsys.readouterr().out
    assert tables(file) > tables(file.with_name("mlflow.db.half-made-1"))
    assert not database.is_half_made(file)


@pytest.mark.parametrize("content", [b"", b"no database, but long enough to be read as one" * 99])
def test_what_is_not_of_mlflow_is_not_half_made(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(content)
    assert not database.is_half_made(file)
    with pytest.raises(PipelineError, match="is no database of MLflow"):
        database.schema_problem(file)


@pytest.mark.row("N14")
def test_another_schema_is_named(file: Path) -> None:
    with open_store():
        pass
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
        connection.commit()
    assert database.schema_problem(file).startswith("its schema is older, this MLflow's is ")
