import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
import sqlalchemy

from components.core.errors import InvalidParams, PipelineError, ServiceUnavailable
from components.tracking import server

Serve = Callable[..., AbstractContextManager[str]]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def is_reachable(uri: str) -> bool:
    try:
        server.require_reachable(uri)
    except ServiceUnavailable:
        return False
    return True


def test_without_the_variable_the_database_is_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert server.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_in_a_copy_of_an_experiment_it_is_the_database_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy = tmp_path / ".dvc/tmp/exps/standalone/tmpab12"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert server.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize("name", ["a%20b", "%", "100%", "what?", "a?timeout=5", "50%?", "b#c d"])
@pytest.mark.parametrize("below", ["", ".dvc/tmp/exps/tmpab12"])
def test_the_file_is_in_the_project_whatever_its_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, below: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for folder in (tmp_path / name, tmp_path / name / below):
        (folder / ".dvc").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / name / below)
    uri = server.tracking_uri()
    server.require_reachable(uri)
    opened = sqlalchemy.create_engine(uri)
    with opened.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE here (x)")
    opened.dispose()
    file = tmp_path / name / "mlflow.db"
    assert server.sqlite_file(uri) is not None
    assert file.samefile(server.sqlite_file(uri) or "")
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("here",)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///mlflow.db",
        "sqlite:////data/mlflow.db",
        "postgresql+psycopg2://u:p@db/mlflow",
        "http://mlflow:5000",
        "https://mlflow.example/base",
    ],
)
def test_servers_and_databases_are_taken_as_they_are(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert server.tracking_uri() == uri


@pytest.mark.row("N12")
@pytest.mark.parametrize(
    "uri", ["", "mlruns", "./mlruns", "/data/mlruns", "file:mlruns", "file:///data", "htp://x", "x"]
)
def test_folders_typos_and_nothing_are_refused_in_one_line(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InvalidParams, match=r"MLFLOW_TRACKING_URI .*unset it") as caught:
        server.tracking_uri()
    assert "\n" not in str(caught.value)


@pytest.mark.row("N01")
def test_a_closed_port_is_reported_within_30_seconds_and_without_the_password() -> None:
    started = time.monotonic()
    uri = f"http://ann:secret@127.0.0.1:{free_port()}"
    with pytest.raises(ServiceUnavailable, match="does not answer") as caught:
        server.require_reachable(uri)
    assert time.monotonic() - started < 30
    message = str(caught.value)
    assert "secret" not in message
    assert "ann" not in message
    assert "refused" in message
    assert "MLFLOW_TRACKING_URI" in message


@pytest.mark.row("N01")
def test_a_server_that_accepts_and_never_answers_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_TRY_SECONDS", 0.3)
    monkeypatch.setattr(server, "_PAUSE_SECONDS", 0.1)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(ServiceUnavailable, match="timed out"):
            server.require_reachable(f"http://127.0.0.1:{sock.getsockname()[1]}")


@pytest.mark.row("N03")
def test_the_total_of_all_tries_stays_under_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def hang(_uri: str, timeout: float) -> str:
        nonlocal now
        now += timeout
        return "timed out"

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(server, "_probe", hang)
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    with pytest.raises(ServiceUnavailable):
        server.require_reachable("http://mlflow:5000")
    assert 10 < now < 30


@pytest.mark.row("N03")
@pytest.mark.parametrize("status", [500, 503])
def test_server_errors_are_reported(
    status: int, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PAUSE_SECONDS", 0.01)
    with (
        serve(200, health=status) as host,
        pytest.raises(ServiceUnavailable, match=f"HTTP {status}"),
    ):
        server.require_reachable(f"http://{host}")


@pytest.mark.parametrize("status", [200, 401, 404])
def test_any_other_answer_counts_as_reachable(status: int, serve: Serve) -> None:
    with serve(200, health=status) as host:
        assert is_reachable(f"http://ann:secret@{host}/")


def test_a_database_that_does_not_exist_yet_is_reachable(tmp_path: Path) -> None:
    assert is_reachable(f"sqlite:///{tmp_path}/new/mlflow.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("no database at all, " * 100)
    with pytest.raises(PipelineError, match="not a database"):
        server.require_reachable(f"sqlite:///{file}")


def test_a_database_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="cannot be opened"):
        server.require_reachable(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_database_server_is_reachable_when_something_listens_on_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert is_reachable(f"postgresql+psycopg2://ann:secret@127.0.0.1:{port}/mlflow")


def test_a_database_server_that_is_not_there_is_reported_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_PAUSE_SECONDS", 0.01)
    with pytest.raises(ServiceUnavailable, match="refused") as caught:
        server.require_reachable(f"postgresql://ann:secret@127.0.0.1:{free_port()}/mlflow")
    assert "secret" not in str(caught.value)


def test_a_database_server_without_a_port_is_asked_at_the_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def connect(address: tuple[str, int], _timeout: float) -> socket.socket:
        asked.append(address)
        raise OSError("nobody")

    monkeypatch.setattr(server, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("components.tracking.server.socket.create_connection", connect)
    with pytest.raises(ServiceUnavailable, match="nobody"):
        server.require_reachable("postgresql://db.example.org/mlflow")
    assert set(asked) == {("db.example.org", 5432)}


def test_the_current_uri_is_probed_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceUnavailable):
        server.require_reachable()


def test_probing_does_not_import_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys; from components.tracking.server import require_reachable as r;"
        f"r('sqlite:///{tmp_path}/mlflow.db'); sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.row("C08")
def test_credentials_are_taken_out_of_every_uri_of_a_text() -> None:
    text = "at http://u:p@host:1/x and postgresql+psycopg2://me:pw@db/y, mail a@b"
    assert (
        server.without_credentials(text)
        == "at http://host:1/x and postgresql+psycopg2://db/y, mail a@b"
    )


@pytest.mark.row("N02")
def test_a_server_that_restarts_is_waited_for_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["refused"] * 7 + [""])
    monkeypatch.setattr(server, "_probe", lambda *_: next(answers))
    monkeypatch.setattr(server, "_PAUSE_SECONDS", 0.0)
    server.require_reachable("http://ann:secret@mlflow:5000", patience=server.outage_seconds())
    said = capsys.readouterr().out
    assert said.count("http://mlflow:5000 does not answer (refused): waiting for it, 300 s") == 1
    assert next(answers, "all were asked for") == "all were asked for"
