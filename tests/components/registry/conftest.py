"""A real MLflow store for each test, servers that misbehave, a tiny real model."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.core.artifacts import ModelCard
from components.core.training.architectures import build_network
from components.io import files, models
from components.registry import approvals, versions
from components.tracking.store import Store, open_store
from tests import factories
from tests.local_store import EMPTY, LocalStore

Serve = Callable[..., AbstractContextManager[str]]


@contextmanager
def _serve(status: int, body: str = "", health: int = 200, failing: int = 0) -> Iterator[str]:
    """A server on this machine that answers /health with one status, and all else with another.

    So many requests fail before. Yields its host and port.
    """
    failures = iter([503] * failing)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(health if self.path == "/health" else next(failures, status))
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
    """serve(status, body, health, failing) is a context manager that yields host:port."""
    return _serve


@pytest.fixture(scope="session")
def local_store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """The place of all local stores, with the state of an empty one."""
    return _local_store(tmp_path_factory.getbasetemp() / "mlflow")


@functools.cache
def _local_store(root: Path) -> LocalStore:
    """One for all folders of tests: each that imports the fixture has one of its own."""
    from mlflow import MlflowClient

    place = LocalStore(root / "store", root / "states")
    place.set_up(EMPTY, lambda: MlflowClient(place.uri).search_experiments())
    return place


@pytest.fixture
def store(local_store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an MLflow store without experiments, set as the one to use."""
    local_store.load(EMPTY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_store.uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return local_store.uri


@pytest.fixture
def opened(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store, open for the user anna; there are no models."""
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
    models.save_card(folder, _card(digest))
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose weights are a few bytes: for what stores models and never predicts."""
    folder = tmp_path_factory.mktemp("small") / "model"
    files.write_bytes(folder / models.WEIGHTS, b"weights")
    models.save_card(folder, _card(files.digest_file(folder / models.WEIGHTS)))
    return folder


def _card(weights_sha256: str) -> ModelCard:
    return factories.model_card(
        class_names=["good cell", "bad|cell"],
        weights_sha256=weights_sha256,
        data_digest="d" * 64,
    )
