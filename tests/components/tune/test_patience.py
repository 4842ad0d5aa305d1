"""Optuna's storage on a database whose connections fail for a while."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from components.tracking import server
from components.tune import patience
from components.tune.patience import PatientStorage

pytestmark = pytest.mark.row("T04")


class Failing:
    """A database in a file, opened anew for each call; it fails as often as it is told to."""

    def __init__(self, file: Path) -> None:
        self.left, self.message, self._file = 0, "Connection refused", file

    def connect(self) -> RDBStorage:
        self._fail()
        options = {"poolclass": NullPool}
        backend = RDBStorage(f"sqlite:///{self._file}", engine_kwargs=options)
        event.listen(backend.engine, "do_connect", self._fail)
        return backend

    def _fail(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            raise sqlite3.OperationalError(self.message)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Failing:
    monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0.0)
    return Failing(tmp_path / "study.db")


def open_study(database: Failing) -> optuna.Study:
    return optuna.create_study(storage=PatientStorage(database.connect, "postgresql://db/tune"))


def test_every_call_waits_for_a_database_that_comes_back_and_says_so_once(
    database: Failing, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(database)
    calls: list[Callable[[], object]] = [
        lambda: study.enqueue_trial({"x": 0.5}),
        lambda: study.ask().suggest_float("x", 0, 1),
        lambda: study.set_user_attr("hardware", "cpu"),
        lambda: study.tell(0, 0.25),
    ]
    for call in calls:
        database.left = 7
        call()
        assert database.left == 0
    [trial] = study.get_trials()
    assert (trial.state, trial.value, trial.params) == (TrialState.COMPLETE, 0.25, {"x": 0.5})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(calls)
    line = "tune      postgresql://db/tune does not answer ((sqlite3.OperationalError) Connection "
    assert said[0] == f"{line}refused): waiting for it, 300 s at most"
    assert getattr(study._storage, "outages") == len(calls)  # noqa: B009 - of our class


def test_a_database_that_stays_away_ends_the_call(
    database: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(database)
    monkeypatch.setenv(server.OUTAGE, "0")
    database.left = 10_000_000
    with pytest.raises(StorageInternalError):
        study.set_user_attr("hardware", "cpu")


@pytest.mark.parametrize(
    "message",
    ['FATAL:  password authentication failed for user "a"', 'database "tune" does not exist'],
)
def test_a_refusal_is_not_waited_out(database: Failing, message: str) -> None:
    study = open_study(database)
    database.left, database.message = 1, message
    with pytest.raises(StorageInternalError):
        study.set_user_attr("hardware", "cpu")


def test_an_error_of_the_database_itself_is_not_repeated(
    database: Failing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(database)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("DROP TABLE study_user_attributes")
    with pytest.raises(StorageInternalError):
        study.set_user_attr("hardware", "cpu")
    assert capsys.readouterr().out == ""
