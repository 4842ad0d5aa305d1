"""The SQLite file that MLflow keeps its runs in: whole or absent, at its birth too."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from components.core.errors import PipelineError
from components.io.files import write_with
from components.tracking import server


def make(file: Path, artifact_location: str | None) -> None:
    """Make the database unless it is there, complete; another process waits for it.

    MLflow fills it in dozens of transactions and never opens one that it has not finished: what
    an interruption left half made has no run in it, and is set aside.
    """
    if file.exists() and file.stat().st_size and not is_half_made(file):
        return
    with _locked(file.with_name(f"{file.name}.lock")):
        if is_half_made(file):
            aside = _free_name(file)
            file.rename(aside)
            print(f"mlflow    {file} was half made when it was interrupted: moved to {aside.name}")
        if not file.exists() or not file.stat().st_size:
            write_with(file, lambda path: _fill(path, artifact_location))
        for leftover in file.parent.glob(f".{file.stem}.*.part{file.suffix}-journal"):
            leftover.unlink(missing_ok=True)


def _fill(path: Path, artifact_location: str | None) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = server.sqlite_uri(path)
    store = SqlAlchemyStore(uri, artifact_location)  # type: ignore[no-untyped-call]
    store._dispose_engine()  # type: ignore[no-untyped-call]
    SqlAlchemyStore._engine_map.pop(uri, None)  # another file may come to have this name


def is_half_made(file: Path) -> bool:
    """Whether MLflow began to fill it, and was stopped: its first experiment is the last step."""
    if not file.exists():  # to look would make it
        return False
    try:
        with closing(sqlite3.connect(file)) as connection:
            return not connection.execute("SELECT artifact_location FROM experiments").fetchone()
    except sqlite3.Error:  # empty, or not MLflow's
        return False


def schema_problem(file: Path) -> str:
    """How the tables differ from what the installed MLflow needs; empty when they do not.

    Raises:
        PipelineError: it is no database of MLflow.
    """
    from mlflow.store.db.utils import _get_latest_schema_revision

    try:
        with closing(sqlite3.connect(file)) as connection:
            (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise PipelineError(
            f"{file}: is no database of MLflow ({error}); set MLFLOW_TRACKING_URI to another one."
        ) from error
    expected = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    return "" if found == expected else f"its schema is {found}, this MLflow's is {expected}"


def _free_name(file: Path) -> Path:
    names = (file.with_name(f"{file.name}.half-made-{number}") for number in range(1, 1000))
    return next(name for name in names if not name.exists())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held by whoever makes the database, or moves aliases in it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
