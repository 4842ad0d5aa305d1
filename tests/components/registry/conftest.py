"""A real MLflow database for each test, servers that misbehave, a tiny real model, evidence."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.core.artifacts import (
    ClassMetrics,
    Evaluation,
    Metrics,
    ModelCard,
    Split,
    ValidationReport,
)
from components.core.data.decoding import ImageParams
from components.core.training.architectures import build_network
from components.io import models

Serve = Callable[..., AbstractContextManager[str]]
Evidence = Callable[[list[str], list[list[int]]], tuple[Evaluation, ValidationReport]]


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


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resnet18 of 32 pixels and two classes with random weights. Do not change its files."""
    import torch

    folder = tmp_path_factory.mktemp("trained") / "model"
    torch.manual_seed(0)
    digest = models.save_weights(folder, build_network("resnet18", 2).state_dict())
    card = ModelCard(
        architecture="resnet18",
        class_names=["good cell", "bad|cell"],
        image_size=32,
        images=ImageParams(
            formats=["PNG", "JPEG"],
            max_pixels=1_000_000,
            multi_frame="refuse",
            background=(255, 255, 255),
            fit="crop",
        ),
        temperature=1.7,
        weights_sha256=digest,
        initial_weights="random",
        data_digest="d" * 64,
        training_key="e" * 64,
        settings={"learning_rate": 0.001},
        best_epoch=1,
        val_loss=0.6,
    )
    models.save_card(folder, card)
    return folder


@pytest.fixture
def evidence() -> Evidence:
    """evidence(class names, confusion matrix): what evaluate and validate would have written."""

    def make(names: list[str], confusion: list[list[int]]) -> tuple[Evaluation, ValidationReport]:
        return _evaluation(names, confusion), _report(names)

    return make


def _evaluation(names: list[str], confusion: list[list[int]]) -> Evaluation:
    metrics = Metrics(
        num_images=333,
        accuracy=0.7778,
        accuracy_low=0.7305,
        accuracy_high=0.8191,
        balanced_accuracy=0.7,
        macro_f1=0.7,
        log_loss=0.5,
        ece=0.02,
        ece_uncalibrated=0.05,
        roc_auc=0.8,
        majority_class_accuracy=0.6,
    )
    per_class = [
        ClassMetrics(
            name=name, precision=0.5, recall=row[k] / max(sum(row), 1), f1=0.5, support=sum(row)
        )
        for k, (name, row) in enumerate(zip(names, confusion, strict=True))
    ]
    return Evaluation(
        metrics=metrics,
        per_class=per_class,
        confusion=confusion,
        model_digest="m" * 64,
        data_digest="d" * 64,
        test_digest="t" * 64,
        predictions_sha256="p" * 64,
    )


def _report(names: list[str]) -> ValidationReport:
    counts: dict[Split, int] = {"train": 1_000, "val": 200, "test": 300}
    return ValidationReport(
        success=True,
        data_digest="d" * 64,
        class_names=names,
        found=3_100,
        used=3_000,
        quarantined=60,
        ignored=40,
        duplicates=20,
        counts=dict.fromkeys(names, counts),
        near_duplicates=90,
        groups=2_900,
        largest_group=7,
        pinned=0,
        rules=[],
    )
