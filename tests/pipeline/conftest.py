"""A real MLflow store for the commands that read and change it."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.components.conftest import workspace as workspace
from tests.pipeline import kfp_server, kube_server
from tests.pipeline.checkout import Checkout


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
