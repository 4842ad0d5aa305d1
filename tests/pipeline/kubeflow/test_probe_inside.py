"""What a pod of a probe finds, on real git, DVC, folders and servers of loopback."""

import base64
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.kubeflow import probe_inside
from pipeline.kubeflow.probe_inside import Question, answer, checks
from tests.pipeline.checkout import Checkout

DEAD = "http://127.0.0.1:9"
WORD = "a-very-secret-word"


@pytest.fixture
def question(checkout: Checkout, tmp_path: Path) -> Question:
    checkout.run("dvc", "remote", "modify", "storage", "url", str(checkout.storage))
    revision = checkout.commit()
    checkout.run("git", "push", "--quiet", "origin", "main")
    pointer = (checkout.root / "data/images.dvc").read_text()
    data_hash = next(line.split()[-1] for line in pointer.splitlines() if "md5: " in line
                     and line.endswith(".dir"))  # fmt: skip
    workspace = str(tmp_path / "workspace")
    return Question(workspace, str(checkout.bare), revision, data_hash, ("localhost",))


def run(step: str, question: Question, capfd: pytest.CaptureFixture[str]) -> dict[str, str]:
    here = Path.cwd()
    try:
        probe_inside.main(step, json.dumps(asdict(question)))
    finally:
        os.chdir(here)
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return {each["check"]: f"{each['status']} {each['found']}" for each in found}


def test_fetch_asks_for_names_volume_commit_and_images_and_leaves_nothing(
    question: Question, capfd: pytest.CaptureFixture[str]
) -> None:
    found = run("fetch", question, capfd)
    assert list(found) == ["dns", "volume", "git", "data"]
    assert found["dns"] == "pass knows localhost"
    assert found["volume"].startswith(f"pass {question.workspace}: writable, ")
    assert found["git"] == f"pass {question.repository} has {question.revision[:12]}"
    assert found["data"] == f"pass the remote has all of {question.data_hash[:12]}"
    assert not Path(question.workspace).exists()


def test_each_fault_of_fetch_is_told_alone(
    question: Question, checkout: Checkout, capfd: pytest.CaptureFixture[str]
) -> None:
    found = run("fetch", replace(question, hosts=("none.invalid",)), capfd)
    assert found["dns"].startswith("fail none.invalid: ")
    assert "cluster's DNS" in found["dns"]
    found = run("fetch", replace(question, revision="0" * 40), capfd)
    assert found["git"].startswith("fail fetch: `git fetch ")
    for path in (checkout.storage / "files").rglob("*"):
        if path.is_file() and not path.name.endswith(".dir"):
            path.unlink()
    found = run("fetch", question, capfd)
    assert (found["git"][:4], found["data"][:4]) == ("pass", "fail")
    assert "lacks 1 files of the images" in found["data"]


def test_a_volume_that_cannot_be_written_is_told_once(
    question: Question, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "file").write_text("")
    found = run("fetch", replace(question, workspace=str(tmp_path / "file/x")), capfd)
    assert found["volume"].startswith("fail NotADirectoryError")
    assert (found["git"][:4], found["data"][:4]) == ("pass", "pass")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """Knows one user."""
    known = f"Basic {base64.b64encode(f'trainer:{WORD}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            right = self.headers["Authorization"] == known
            place = self.path == "/api/2.0/mlflow/experiments/search?max_results=1"
            self.send_response(200 if right and place else 401)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "trainer")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", WORD)
    yield server
    server.shutdown()
    server.server_close()


ANY = Question("", "", "", "", ())


def test_mlflow_takes_the_password_or_the_answer_says_what_it_said(
    mlflow: HTTPServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    assert run("register", ANY, capfd) == {
        "mlflow": f"pass http://127.0.0.1:{mlflow.server_port} takes the password of trainer"
    }
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"{WORD}-of-yesterday")
    found = run("register", ANY, capfd)["mlflow"]
    assert "HTTP 401 for the user trainer; the secret must hold the password" in found
    assert WORD not in found
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    found = run("register", ANY, capfd)["mlflow"]
    assert found.startswith(f"fail {DEAD}: ")
    assert "refused; is cluster.tracking_uri right" in found
    assert answer("mlflow", probe_inside.mlflow, ANY)["service"] is True


def test_a_database_that_does_not_answer_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", f"postgresql://optuna:{WORD}@127.0.0.1:9/optuna")
    found = answer("postgres", probe_inside.postgres, ANY)
    assert (found["status"], found["service"]) == ("fail", True)
    assert "postgresql://optuna:***@127.0.0.1:9/optuna: " in found["found"]
    assert "refused" in found["found"]


def test_a_step_is_asked_for_what_it_uses() -> None:
    database = {"OPTUNA_STORAGE": "postgresql://"}
    gpu = replace(ANY, gpus=1, shared_memory_gib=2.0)
    assert list(checks("tune", gpu, database)) == ["mlflow", "postgres", "gpu", "shm"]
    assert list(checks("train", gpu, {})) == ["mlflow", "gpu", "shm"]
    assert list(checks("train", ANY, {})) == ["mlflow"]


def test_gpus_and_shared_memory_are_counted() -> None:
    import torch

    there = torch.cuda.device_count()
    found = answer("gpu", probe_inside.gpu, replace(ANY, gpus=there + 1))
    assert found["status"] == "fail"
    assert f", not {there + 1}; kubectl apply -k infra/kustomize/gpu-check" in found["found"]
    assert answer("shm", probe_inside.shm, ANY)["status"] == "pass"
    found = answer("shm", probe_inside.shm, replace(ANY, shared_memory_gib=60_000.0))
    assert (found["status"], "GiB, not 60000;" in found["found"]) == ("fail", True)


@pytest.mark.row("C08")
@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "GIT_PASSWORD", "MLFLOW_TRACKING_PASSWORD"]
)
def test_no_secret_is_in_an_answer_whatever_an_error_quotes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, WORD)

    def broken(_: Question) -> str:
        raise ZeroDivisionError(f"quotes {WORD}\nand more")

    found = answer("x", broken, ANY)
    assert found["found"] == "ZeroDivisionError: quotes ***"


def test_what_hangs_is_a_failure_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_inside, "_SECONDS", 0.01)
    released = threading.Event()
    found = answer("x", lambda _: str(released.wait(60)), ANY)
    released.set()
    assert (found["status"], found["service"]) == ("fail", True)
    assert "does a network policy hold it up?" in found["found"]
