"""What a person reads when a service does not come up."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest

from tests.services.servers import KUSTOMIZE, Postgres, Process

pytestmark = pytest.mark.services


def test_a_server_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    code = "print('line ' * 3); raise SystemExit('no such option')"
    server = Process(
        tmp_path / "storage.log", [sys.executable, "-c", code], os.environ, lambda: False
    )
    with pytest.raises(pytest.fail.Exception, match=r"(?s)storage does not.*no such option"):
        server.start()
    assert server.running is None


def test_a_database_with_a_wrong_setting_shows_the_end_of_its_log(folder: Path) -> None:
    place = folder / "wrong"
    place.mkdir()
    server = Postgres(place, "mlflow", "no_such_setting=1")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)PostgreSQL does not.*no_such_setting"):
        server.start()


@pytest.mark.row("N07")
def test_a_server_without_its_database_is_not_ready(folder: Path) -> None:
    place = folder / "ready"
    (place / "secrets/postgres-mlflow").mkdir(parents=True)
    (place / "secrets/postgres-mlflow/password").write_text("not asked for")
    server, web = Postgres(place, "mlflow"), HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    here = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGSSLMODE": "disable"}
    here |= {"SECRETS": str(place / "secrets"), "PGSSLROOTCERT": "", "PORT": str(web.server_port)}
    command = [sys.executable, str(KUSTOMIZE / "base/mlflow/start.py"), "ready"]

    def ready() -> bool:
        done = subprocess.run(command, env={**os.environ, **here}, capture_output=True, check=False)
        return done.returncode == 0

    server.start()
    try:
        where = f"host=127.0.0.1 port={server.port} user=mlflow dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute("CREATE DATABASE mlflow")
        assert ready()
    finally:
        server.end()
    assert not ready()
    web.shutdown()


class Healthy(BaseHTTPRequestHandler):
    """As MLflow's /health, whatever its database does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_a_database_of_another_encoding_is_named_by_the_migration(folder: Path) -> None:
    place = folder / "ascii"
    (place / "secrets/postgres-mlflow").mkdir(parents=True)
    (place / "secrets/postgres-mlflow/password").write_text("not asked for")
    server = Postgres(place, "mlflow", encoding="SQL_ASCII")
    server.start()
    try:
        here = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGSSLMODE": "disable"}
        where = f"host=127.0.0.1 port={server.port} user=mlflow dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute("CREATE DATABASE mlflow")
        done = subprocess.run(
            [sys.executable, KUSTOMIZE / "base/mlflow/start.py", "migrate"],
            env={**os.environ, **here, "SECRETS": str(place / "secrets"), "PGSSLROOTCERT": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.end()
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: PostgreSQL's database mlflow has the encoding SQL_ASCII; MLflow")
