"""The overlays' own scripts, really run: PostgreSQL over TLS, MLflow with users, backup, drill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.manifests import KUSTOMIZE
from tests.services.conftest import BINARIES, as_postgres, free_port

pytestmark = pytest.mark.services

BASE = KUSTOMIZE / "base"
ROOT = KUSTOMIZE.parents[1]
MODEL = "solar-cells"


@dataclass(frozen=True)
class Services:
    """A running PostgreSQL and MLflow, and the environment in which their scripts ran."""

    folder: Path
    uri: str
    environment: dict[str, str]

    def password(self, user: str) -> str:
        return (Path(self.environment["SECRETS"]) / f"mlflow-{user}" / "password").read_text()

    def call(self, path: str, body: Mapping[str, object], user: str, method: str = "POST") -> int:
        """The HTTP status of a call to MLflow by this user; `anonymous` sends no credentials."""
        return self.send(f"mlflow/{path}", method, user, body)

    def send(self, path: str, method: str, user: str, body: Mapping[str, object]) -> int:
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/{path}", json.dumps(body).encode(), method=method
        )
        request.add_header("Content-Type", "application/json")
        if user != "anonymous":
            pair = f"{user}:{self.password(user)}"
            request.add_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        return subprocess.run(
            words, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False,
            timeout=240,
        )  # fmt: skip


def require(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    if not BINARIES:
        pytest.fail("PostgreSQL is missing; run infra/install_postgres.sh")
    folder = Path(tempfile.mkdtemp(prefix="infra-"))
    folder.chmod(0o755)
    try:
        subprocess.run(["sh", KUSTOMIZE.parent / "scripts" / "make_secrets.sh", folder / "made"],
                       check=True)  # fmt: skip
        made = folder / "made" / "image-classification"
        data, port = folder / "pg", free_port()
        (folder / "tls").mkdir()
        for file in ("tls.crt", "tls.key"):
            shutil.copy(made / "postgres-tls" / file, folder / "tls" / file)
        if os.geteuid() == 0:
            for path in (folder / "tls", *(folder / "tls").iterdir()):
                shutil.chown(path, "postgres")
            data.mkdir()
            shutil.chown(data, "postgres")
        as_postgres(
            BINARIES[-1] / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"
        )
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
            f" -c ssl=on -c ssl_cert_file={folder}/tls/tls.crt -c ssl_key_file={folder}/tls/tls.key"
            " -c fsync=off"
        )
        ctl = [BINARIES[-1] / "pg_ctl", "-D", data, "-w"]
        as_postgres(*ctl, "-l", data / "log", "-o", options, "start")
        try:
            yield from serve(folder, made, data, port)
        finally:
            as_postgres(*ctl, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(folder: Path, made: Path, data: Path, port: int) -> Iterator[Services]:
    web = free_port()
    uri = f"http://127.0.0.1:{web}"
    environment = {
        **os.environ,
        "PATH": f"{BINARIES[-1]}:{os.environ['PATH']}",
        "SECRETS": str(made), "PGHOST": "localhost", "PGPORT": str(port),
        "PGSSLROOTCERT": str(made / "internal-ca" / "ca.crt"), "PORT": str(web),
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": "^models:/m-[0-9a-f]+$",
        "MLFLOW_TRACKING_URI": uri, "MODEL_NAME": MODEL, "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    services = Services(folder, uri, environment)
    inside = {"PGHOST": str(data), "PGUSER": "postgres"}
    first = Services(folder, uri, environment | inside)
    require(first.run("bash", BASE / "postgres" / "databases.sh"))
    hba = (BASE / "postgres" / "pg_hba.conf").read_text()
    (data / "pg_hba.conf").write_text(hba.replace("scram-sha-256", "trust", 1) + hba)
    require(first.run("psql", "-d", "postgres", "-c", "SELECT pg_reload_conf()"))
    start = BASE / "mlflow" / "start.py"
    require(services.run(sys.executable, start, "migrate"))
    require(services.run(sys.executable, start, "migrate"))
    require(services.run(sys.executable, start, "wait"))
    log = (folder / "server.log").open("w")
    command = [sys.executable, str(start), "serve"]
    server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 180
        while not answers(uri):
            assert server.poll() is None, (folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.5)
        for _ in range(2):
            require(services.run(sys.executable, BASE / "mlflow" / "bootstrap.py"))
        yield services
    finally:
        server.terminate()
        server.wait(60)
        log.close()


def answers(uri: str) -> bool:
    try:
        urllib.request.urlopen(f"{uri}/health", timeout=5).close()
    except OSError:
        return False
    return True


def test_only_the_promoter_may_move_the_alias(services: Services) -> None:
    version = {"name": MODEL, "source": "models:/m-" + "0" * 32}
    alias = {"name": MODEL, "alias": "champion", "version": "1"}
    assert services.call("model-versions/create", version, "trainer") == 403
    assert services.call("registered-models/alias", alias, "anonymous") == 401
    assert services.call("registered-models/alias", alias, "trainer") == 403
    # past the authorisation: there is no version 1 yet
    assert services.call("registered-models/alias", alias, "promoter") == 404
    foreign = version | {"source": "s3://elsewhere/model"}
    assert services.call("model-versions/create", foreign, "promoter") == 400


def test_the_trainer_may_log_runs_but_delete_nothing(services: Services) -> None:
    assert services.call("runs/create", {"experiment_id": "1"}, "trainer") == 200
    assert services.call("experiments/delete", {"experiment_id": "1"}, "trainer") == 403
    assert services.call("experiments/delete", {"experiment_id": "1"}, "anonymous") == 401


def test_only_the_promoter_deletes_stored_weights_and_nobody_deletes_the_journal(
    services: Services,
) -> None:
    def send(method: str, path: str, user: str) -> int:
        return services.send(f"mlflow-artifacts/artifacts/{path}", method, user, {})

    weights = f"1/models/m-{'0' * 32}/artifacts"
    assert send("PUT", f"{weights}/model", "trainer") == 200
    assert send("DELETE", weights, "trainer") == 403
    assert send("GET", f"{weights}/model", "trainer") == 200
    assert send("DELETE", weights, "promoter") == 200
    assert send("GET", f"{weights}/model", "trainer") == 404
    for user in ("trainer", "promoter"):
        for path in ("1", f"1/{'0' * 32}/artifacts"):
            assert send("DELETE", path, user) == 403
        assert services.call("runs/delete", {"run_id": "0" * 32}, user) in (403, 404)


def test_the_pruning_job_speaks_as_the_promoter(services: Services) -> None:
    prune = BASE / "mlflow" / "prune.py"
    done = services.run(sys.executable, prune, "--older-than=180", "--keep=10", "--yes")
    assert require(done) == f"{MODEL}: 0.0 MB pruned\n"


def test_a_connection_without_tls_is_refused(services: Services) -> None:
    password = (Path(services.environment["SECRETS"]) / "postgres-mlflow/password").read_text()
    plain = {"PGSSLMODE": "disable", "PGPASSWORD": password}
    client = Services(services.folder, services.uri, services.environment | plain)
    done = client.run("psql", "-U", "mlflow", "-d", "mlflow", "-c", "SELECT 1")
    assert done.returncode != 0
    assert "no encryption" in done.stderr


def test_the_roles_do_not_see_one_another(services: Services) -> None:
    for role, database in (("mlflow", "optuna"), ("optuna", "mlflow"), ("backup", "postgres")):
        password = (Path(services.environment["SECRETS"]) / f"postgres-{role}/password").read_text()
        client = Services(
            services.folder, services.uri, services.environment | {"PGPASSWORD": password}
        )
        done = client.run("psql", "-U", role, "-d", database, "-c", "SELECT 1")
        assert done.returncode != 0, (role, database)


def test_a_backup_restores_and_a_cut_one_does_not(services: Services) -> None:
    verified = {"PGSSLMODE": "verify-full", "PGUSER": "backup"}
    client = Services(services.folder, services.uri, services.environment | verified)
    dumps, place = services.folder / "dumps", services.folder / "restored"
    dumps.mkdir()
    require(client.run("sh", BASE / "backup" / "dump.sh", dumps))
    drill = BASE / "backup" / "drill.sh"
    words = (
        ["runuser", "-u", "postgres", "--preserve-environment", "--"] if os.geteuid() == 0 else []
    )

    def restore(name: str) -> subprocess.CompletedProcess[str]:
        target = place / name
        target.mkdir(parents=True)
        if words:
            shutil.chown(target, "postgres")
        return client.run(*words, "sh", drill, dumps, target)

    assert "restored: 2 experiments" in require(restore("good"))
    whole = (dumps / "mlflow.dump").read_bytes()
    (dumps / "mlflow.dump").write_bytes(whole[: len(whole) // 2])
    assert restore("cut").returncode != 0
