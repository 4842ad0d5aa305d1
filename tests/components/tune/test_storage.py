from pathlib import Path

import pytest

from components.core.errors import InvalidParams, ServiceUnavailable
from components.tracking import server
from components.tune import search, storage
from tests.components.tune import workers
from tests.processes import free_port


@pytest.mark.parametrize("address", ["postgres", "oracle9://a:secret@b/c", "http://secret@x"])
def test_what_is_no_database_url_is_refused_without_quoting_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(storage.VARIABLE, address)
    with (
        pytest.raises(InvalidParams, match="OPTUNA_STORAGE is not a database URL") as raised,
        storage.open_storage(tmp_path / "study.journal"),
    ):
        pass
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.row("C08")
def test_a_database_that_does_not_answer_is_a_service_error_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(storage.VARIABLE, f"postgresql://anna:word@127.0.0.1:{free_port()}/tune")
    monkeypatch.setenv(server.OUTAGE, "0")
    with (
        pytest.raises(ServiceUnavailable, match=r"anna:\*\*\*@127.*does not answer") as raised,
        storage.open_storage(tmp_path / "study.journal"),
    ):
        pass
    assert "word@" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 5


def test_workers_on_sqlite_share_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(storage.VARIABLE, f"sqlite:///{tmp_path}/study.db")
    with workers.running(f"sqlite:///{tmp_path}/study.db", 4, num_trials=12) as processes:
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
    finished = workers.finished_trials(workers.open_queue(tmp_path / "none", 12))
    assert len(finished) == 12
    assert not (tmp_path / "none").exists()


def test_without_a_database_the_journal_file_serves_all_workers(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    with workers.running(journal, 3, num_trials=8) as processes:
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
    queue = workers.open_queue(journal, 8)
    finished = workers.finished_trials(queue)
    assert len({trial.user_attrs["worker"] for trial in finished}) > 1
    assert search.best_hyperparameters(queue, workers.make_context(8)).trials_complete == 8
