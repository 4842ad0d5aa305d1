import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components.core.errors import PipelineError, ServiceUnavailable
from components.tracking import server
from components.tracking.store import EXPERIMENT, open_store
from tests.components.conftest import ROOT

Serve = Callable[..., AbstractContextManager[str]]


def test_the_experiment_is_created_once(store: str) -> None:
    ids = []
    for _ in range(2):
        with open_store() as opened:
            ids.append(opened.experiment_id)
    assert ids[0] == ids[1]
    assert MlflowClient(store).get_experiment(ids[0]).name == EXPERIMENT


def test_the_experiment_can_be_named(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "line 4")
    with open_store() as opened:
        assert opened.client.get_experiment(opened.experiment_id).name == "line 4"


def test_an_experiment_made_meanwhile_by_another_process_is_used(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = MlflowClient.create_experiment

    def beaten(client: MlflowClient, *arguments: Any) -> str:
        create(client, *arguments)
        return create(client, *arguments)

    monkeypatch.setattr(MlflowClient, "create_experiment", beaten)
    with open_store() as opened:
        assert opened.client.get_experiment(opened.experiment_id).name == EXPERIMENT


_EVERYTHING = """
from pathlib import Path
from typing import Any
from components.tracking import open_run
from components.tracking import server
from components.tracking.store import open_store

with open_run(kind="model", name="x", key="k") as run:
    run.file(Path("made.txt"), "kept")
    client = run.store.client
    print(Path(client.download_artifacts(run.id, "kept/made.txt")).read_text())
    logged = client.create_logged_model(run.store.experiment_id, name="model")
    client.log_model_artifacts(logged.model_id, "kept")
"""


def test_everything_lies_in_the_project_whatever_its_folder_is_called(tmp_path: Path) -> None:
    name = "a%20b?c#d 'e'\"f:g[1]&;$`{}*|<>~@+=,\u00fc\\"
    project = tmp_path / "above" / name
    (project / "kept").mkdir(parents=True)
    (project / "made.txt").write_text("as it was")
    (project / "kept/weights").write_text("w")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _EVERYTHING],
        cwd=project,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "as it was\n"), done.stderr
    assert {path.name for path in project.iterdir()} >= {"mlflow.db", "mlartifacts"}
    stored = {path.name for path in (project / "mlartifacts").rglob("*") if path.is_file()}
    assert stored >= {"made.txt", "weights"}
    assert [path.name for path in (tmp_path / "above").iterdir()] == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["above"]


def test_a_deleted_experiment_is_named_with_the_way_back(store: str) -> None:
    with open_store() as opened:
        opened.client.delete_experiment(opened.experiment_id)
    with pytest.raises(PipelineError, match="mlflow experiments restore"), open_store():
        pass


def test_an_injected_run_that_does_not_exist_is_reported(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(PipelineError, match=r"MLFLOW_RUN_ID is 0{32}.*no such run"), open_store():
        pass


@pytest.mark.row("N16")
def test_telemetry_is_off(store: str) -> None:
    with open_store():
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_environment_names_the_store_only_while_it_is_open(
    store: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_store():
        pass
    assert os.environ["MLFLOW_TRACKING_URI"] == store
    monkeypatch.chdir(store.removeprefix("sqlite:///").removesuffix("mlflow.db"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with open_store() as opened:
        assert opened.uri == store
        assert os.environ["MLFLOW_TRACKING_URI"] == store
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_other_errors_of_mlflow_are_quoted_in_one_line(store: str) -> None:
    said = f"MLflow at {store} did not do what was asked .*1{{32}}.* not found"
    with pytest.raises(PipelineError, match=said) as caught, open_store() as opened:
        opened.client.get_run("1" * 32)
    assert isinstance(caught.value.__cause__, MlflowException)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


@pytest.mark.row("N11", "N18")
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, "log in first", "refuses .*log in first.*MLFLOW_TRACKING_USERNAME"),
        (403, "Invalid Host header", "refuses .*Invalid Host header.*allowed-hosts"),
        (403, json.dumps({"error_code": "PERMISSION_DENIED", "message": "read only"}), "read only"),
        (404, "nothing here", "cannot be used .*MLFLOW_TRACKING_URI"),
        (200, "<html>another program", "cannot be used .*MLFLOW_TRACKING_URI"),
    ],
)
def test_a_server_that_refuses_is_told_from_one_that_is_away(
    status: int, body: str, said: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(status, body) as host:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@{host}")
        with pytest.raises(PipelineError, match=said) as caught, open_store():
            pass
    assert not isinstance(caught.value, ServiceUnavailable)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_fails_behind_its_health_page_is_away(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with serve(503, "busy") as host:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@{host}")
        with pytest.raises(ServiceUnavailable, match="stopped answering") as caught, open_store():
            pass
    assert "secret" not in str(caught.value)


@pytest.mark.row("N03")
@pytest.mark.parametrize("injected", ["", "a" * 32])
def test_who_is_patient_waits_for_what_fails_behind_its_health_page(
    injected: str,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setattr("components.tracking.store._PAUSE_SECONDS", 0.01)
    if injected:
        monkeypatch.setenv("MLFLOW_RUN_ID", injected)
    experiment = {"experiment_id": "7", "name": EXPERIMENT, "lifecycle_stage": "active"}
    answer = {"experiment": experiment, "run": {"info": {"experiment_id": "7"}}}
    with serve(200, json.dumps(answer), failing=5) as host:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@{host}")
        with open_store(patient=True) as opened:
            assert (opened.experiment_id, opened.parent_run_id) == ("7", injected or None)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"mlflow    http://{host} does not answer (")
    assert said[0].endswith("waiting for it, 300 s at most")


@pytest.mark.row("N03")
def test_the_patience_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv(server.OUTAGE, "0")
    monkeypatch.setattr("components.tracking.store._PAUSE_SECONDS", 0.01)
    with serve(503, "busy") as host:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{host}")
        with (
            pytest.raises(ServiceUnavailable, match="stopped answering"),
            open_store(patient=True),
        ):
            pass
