"""Real services on free ports of this machine, ended with the tests."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.tracking.store import Store, open_store
from tests.services import overlay, user_project
from tests.services.overlay import Services
from tests.services.servers import Postgres
from tests.services.user_project import FirstModel, Published


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    path = Path(tempfile.mkdtemp(prefix="services-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def services(folder: Path) -> Iterator[Services]:
    """PostgreSQL over TLS, S3 and MLflow with its users, as the overlays start them."""
    with overlay.running(folder) as services:
        yield services


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[str]:
    """The URI of an empty database in a PostgreSQL server of our own."""
    place = folder / "plain-postgres"
    place.mkdir()
    server = Postgres(place, "mlflow")
    server.start()
    yield f"postgresql://mlflow@127.0.0.1:{server.port}/postgres"
    server.end()


@pytest.fixture(scope="session")
def tables(postgres: str) -> str:
    """The same database with MLflow's tables, which take seconds to make."""
    from mlflow import MlflowClient

    MlflowClient(postgres).search_experiments()
    return postgres


@pytest.fixture
def opened(tables: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store in PostgreSQL without registered models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tables)
    with open_store() as store:
        yield store
        for model in store.client.search_registered_models():
            store.client.delete_registered_model(model.name)


@pytest.fixture(scope="session")
def published(services: Services, folder: Path) -> Published:
    """A commit of this project whose images lie on S3."""
    return user_project.publish(folder / "origin", services)


@pytest.fixture(scope="session")
def first_model(published: Published, services: Services, folder: Path) -> FirstModel:
    """A first model, trained by the trainer, made champion by the promoter, through HTTP."""
    return user_project.train_and_register(published, folder / "checkout", services)
