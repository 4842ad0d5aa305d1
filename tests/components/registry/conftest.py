"""A real MLflow database for each test, servers that misbehave, a tiny real model."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.core.training.architectures import build_network
from components.io import models
from components.registry import approvals, versions
from components.tracking.store import Store, open_store
from tests import factories

Serve = Callable[..., AbstractContextManager[str]]


@contextmanager
def _serve(status: int, body: str = "", health: int = 200) -> Iterator[str]:
    """A server on this machine that answers /health with one status, and all else with another.

    Yields its host and port.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(health if self.path == "/health" else status)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def serve() -> Serve:
    """serve(status, body, health) is a context manager that yields host:port."""
    return _serve


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without experiments: MLflow takes seconds to create one, a copy takes none."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh MLflow store, set as the one to use."""
    file = tmp_path / "mlflow.db"
    shutil.copy(empty_database, file)
    uri = f"sqlite:///{file}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return uri


@pytest.fixture
def opened(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The fresh store, open for the user anna."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    with open_store() as opened:
        yield opened


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leaves out the smoke test of packages, which takes seconds; lists the digests asked for."""
    digests: list[str] = []

    def note(_store: Store, _model_id: str, digest: str, _package: str) -> None:
        digests.append(digest)

    for module in (approvals, versions):
        monkeypatch.setattr(module, "verify", note)
    return digests


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resnet18 of 32 pixels and two classes with random weights. Do not change its files."""
    import torch

    folder = tmp_path_factory.mktemp("trained") / "model"
    torch.manual_seed(0)
    digest = models.save_weights(folder, build_network("resnet18", 2).state_dict())
    card = factories.model_card(
        class_names=["good cell", "bad|cell"], weights_sha256=digest, data_digest="d" * 64
    )
    models.save_card(folder, card)
    return folder
