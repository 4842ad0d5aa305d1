"""Real services on free ports of this machine, ended with the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.io.tracking.store import Store, open_store

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def as_postgres(*command: object) -> None:
    """PostgreSQL refuses to run as root."""
    words = [str(word) for word in command]
    before = [] if os.geteuid() else ["runuser", "-u", "postgres", "--"]
    subprocess.run([*before, *words], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URI of an empty database in a PostgreSQL server of our own."""
    if not BINARIES:
        pytest.fail("PostgreSQL is missing; run infra/install_postgres.sh")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    data, port = folder / "data", free_port()
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        as_postgres(BINARIES[-1] / "initdb", "-D", data, "-U", "mlflow", "--auth=trust",
                    "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")  # fmt: skip
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
        ctl = [BINARIES[-1] / "pg_ctl", "-D", data, "-w"]
        as_postgres(*ctl, "-l", data / "log", "-o", f"{options} -c fsync=off", "start")
        try:
            yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"
        finally:
            as_postgres(*ctl, "-m", "immediate", "stop")  # by the id in its postmaster.pid
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
