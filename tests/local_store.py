"""One place on disk for the MLflow stores of all tests of a process."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

EMPTY = "empty"


@event.listens_for(Engine, "connect")
def _write_without_waiting(connection: Any, _record: object) -> None:
    """Let SQLite leave the disk to the system: whoever kills a process loses nothing by it."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


class LocalStore:
    """A SQLite database with the files of its runs beside it, set back for every test.

    MLflow migrates a new database for seconds, and opens one and compiles its queries for a tenth
    of a second per address: so the address stays and the content is replaced.

    Attributes:
        folder: of the database and its files; nothing else may lie there.
        uri: for MLflow.
    """

    def __init__(self, folder: Path, states: Path) -> None:
        self.folder = folder
        self._states = states
        self._database = folder / "mlflow.db"
        self.uri = f"sqlite:///{self._database}"
        folder.mkdir(parents=True, exist_ok=True)

    def beside(self, name: str) -> "LocalStore":
        """Another store that can have the same states."""
        return LocalStore(self.folder.with_name(name), self._states)

    def set_up(self, state: str, build: Callable[[], object]) -> None:
        """Have what `build` makes of the present content; the second time it is a copy.

        Args:
            state: name of the content, in all stores with the same folder of states.
            build: fills the store; always from the same content.
        """
        if not (self._states / state).exists():
            build()
            self._save(state)
        self.load(state)

    def _save(self, state: str) -> None:
        shutil.copytree(
            self.folder, self._states / state, ignore=shutil.ignore_patterns("mlflow.db*")
        )
        _copy_database(self._database, self._states / state / "mlflow.db")

    def load(self, state: str) -> None:
        """Replace the whole content."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._database:
                path.unlink()
        _copy_database(self._states / state / "mlflow.db", self._database)
        shutil.copytree(
            self._states / state,
            self.folder,
            ignore=shutil.ignore_patterns("mlflow.db"),
            dirs_exist_ok=True,
        )


def _copy_database(source: Path, target: Path) -> None:
    """As one transaction, which open connections to the target notice."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        new.execute("PRAGMA synchronous = OFF")
        old.backup(new)
