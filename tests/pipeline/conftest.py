"""A real MLflow store for the verbs that read and change it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.tracking.store import Store, open_store
from pipeline import rulings
from tests.components.conftest import workspace as workspace
from tests.pipeline import kfp_server, kube_server
from tests.pipeline.checkout import Checkout
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


@pytest.fixture(scope="session")
def pushed_checkout(
    tmp_path_factory: pytest.TempPathFactory, image_bytes: Callable[..., bytes]
) -> Checkout:
    """A project that a cluster could fetch; tests change copies of it."""
    return Checkout(tmp_path_factory.mktemp("checkout") / "origin").make(image_bytes())


@pytest.fixture
def checkout(
    pushed_checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Checkout:
    """A project that a cluster could fetch, as the current folder; nothing else is set."""
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("KF_PIPELINES_SA_TOKEN_PATH", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    monkeypatch.setenv("KUBECACHEDIR", str(tmp_path / "kubectl"))
    # kubectl, of the development packages
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    copy = pushed_checkout.copy(tmp_path / "checkout")
    monkeypatch.chdir(copy.root)
    return copy


@pytest.fixture
def kfp() -> Iterator[kfp_server.Kubeflow]:
    """A server of Kubeflow Pipelines."""
    with kfp_server.serve() as server:
        yield server


@pytest.fixture
def kube(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[kube_server.Cluster]:
    """A cluster that kubectl's current context means."""
    with kube_server.serve() as cluster:
        config = cluster.write_config(tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield cluster
