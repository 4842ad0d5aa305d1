from pathlib import Path

import pytest

from components.core.errors import InvalidParams, ServiceUnavailable
from components.tune import search, storage
from tests.components.tune import crew
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


def test_a_database_that_does_not_answer_is_a_service_error_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(storage.VARIABLE, f"postgresql://anna:word@127.0.0.1:{free_port()}/tune")
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
    with crew.crew(f"sqlite:///{tmp_path}/study.db", workers=4, trials=12) as members:
        for member in members:
            member.join(60)
            assert member.exitcode == 0
    tried = crew.held(crew.read(tmp_path / "none", 12))
    assert len(tried) == 12
    assert not (tmp_path / "none").exists()


def test_without_a_database_the_journal_file_serves_all_workers(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    with crew.crew(journal, workers=3, trials=8) as members:
        for member in members:
            member.join(60)
            assert member.exitcode == 0
    tried = crew.held(crew.read(journal, 8))
    assert len({trial.user_attrs["worker"] for trial in tried}) > 1
    assert search.winner(crew.read(journal, 8), crew.make_task(8)).trials_complete == 8
