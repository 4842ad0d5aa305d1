"""A real MLflow store for the verbs that read and change it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.io.tracking.store import Store, open_store
from pipeline import rulings
from tests.components.conftest import workspace as workspace
from tests.services import cases


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: a copy of it is quicker than a new one."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def opened(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    shutil.copy(database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    with open_store() as store:
        yield store


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leaves out reading packages back, which takes seconds; lists the digests it was asked for."""
    asked: list[str] = []

    def note(_store: Store, _model_id: str, digest: str, _package: str) -> None:
        asked.append(digest)

    monkeypatch.setattr(rulings, "verify", note)
    return asked


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights."""
    return cases.write_model(tmp_path_factory.mktemp("trained") / "model")
