"""`ui` says where to look, and refuses a port that is taken."""

import socket
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.components.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_taken_port_is_named_with_the_way_out(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is taken" in error
    assert f"make ui PORT={port + 1}" in error


def test_where_a_server_has_the_runs_it_is_named_and_none_is_started(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:secret@mlflow.example:5000/")
    assert main(["ui"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "runs      http://mlflow.example:5000/#/experiments?workflowType=machine_learning",
        "versions  http://mlflow.example:5000/#/models/solar-cells?workflowType=machine_learning",
    ]


def test_both_links_are_printed_before_the_server_starts(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    started = []

    def become(_program: str, command: list[str], _environment: dict[str, str]) -> None:
        started.append(command)
        raise SystemExit(0)

    monkeypatch.setattr("os.execve", become)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SystemExit):
        main(["ui", "--port", str(port)])
    runs, versions = capsys.readouterr().out.splitlines()
    assert runs.startswith(f"runs      http://127.0.0.1:{port}/#/experiments/")
    assert runs.endswith("/runs?workflowType=machine_learning&viewStateShareKey=overview")
    page = "#/models/solar-cells?workflowType=machine_learning"
    assert versions == f"versions  http://127.0.0.1:{port}/{page}"
    assert str(port) in started[0]
