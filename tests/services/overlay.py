"""The services of the overlays, together: secrets, PostgreSQL over TLS, S3, MLflow with users."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.infra.manifests import RUNS, SERVICES
from tests.processes import free_port
from tests.services.servers import (
    BINARIES,
    KUSTOMIZE,
    ROOT,
    Mlflow,
    Postgres,
    Process,
    Storage,
)  # fmt: skip

BASE = KUSTOMIZE / "base"
MODEL = "solar-cells"


@dataclass(frozen=True)
class Services:
    """What runs, and the environment in which the overlays' scripts run.

    Attributes:
        secrets: <namespace>/<secret>/<key>, as infra/scripts/make_secrets.sh makes them.
    """

    folder: Path
    secrets: Path
    postgres: Postgres
    storage: Storage
    mlflow: Mlflow
    environment: dict[str, str]

    @property
    def uri(self) -> str:
        return self.environment["MLFLOW_TRACKING_URI"]

    def secret(self, name: str) -> Path:
        """The folder of a secret, of the services' namespace if both have it."""
        places = [self.secrets / part / name for part in (SERVICES, RUNS)]
        return next(place for place in places if place.is_dir())

    def user(self, name: str) -> dict[str, str]:
        """What a client of MLflow needs: the address and this user's credentials."""
        password = (self.secret(f"mlflow-{name}") / "password").read_text()
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password,
        }

    def call(self, path: str, body: Mapping[str, object], user: str, method: str = "POST") -> int:
        """The HTTP status of a call to MLflow by this user; `anonymous` sends no credentials."""
        return self.send(f"mlflow/{path}", method, user, body)

    def send(self, path: str, method: str, user: str, body: Mapping[str, object]) -> int:
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/{path}", json.dumps(body).encode(), method=method
        )
        request.add_header("Content-Type", "application/json")
        if user != "anonymous":
            pair = f"{user}:{self.user(user)['MLFLOW_TRACKING_PASSWORD']}"
            request.add_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def run(self, *command: object, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the overlays with these changes of its environment."""
        return subprocess.run(
            [str(word) for word in command], env=self.environment | changes, cwd=ROOT,
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip

    def ask(self, query: str, database: str = "mlflow") -> str:
        """The result of a query by PostgreSQL's superuser."""
        inside = {"PGHOST": str(self.postgres.data), "PGUSER": "postgres"}
        return require(self.run("psql", "-XAt", "-d", database, "-c", query, **inside)).strip()


def require(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@contextmanager
def running(folder: Path) -> Iterator[Services]:
    """All services, with their tables, buckets and users, until the block ends."""
    folder.chmod(0o755)  # the user postgres walks through it
    made = folder / "made"
    subprocess.run(["sh", ROOT / "infra" / "scripts" / "make_secrets.sh", made], check=True)
    services = _declare(folder, made)
    started: list[Postgres | Process] = []
    try:
        services.postgres.start()
        started.append(services.postgres)
        services.storage.start()
        started.append(services.storage)
        _prepare(services)
        services.mlflow.start()
        started.append(services.mlflow)
        for _ in range(2):  # a second time changes nothing
            require(services.run(sys.executable, BASE / "mlflow" / "bootstrap.py"))
        yield services
    finally:
        for server in reversed(started):
            server.end()


def _declare(folder: Path, made: Path) -> Services:
    ours = made / SERVICES
    place = folder / "postgres"
    shutil.copytree(ours / "postgres-tls", place / "tls")
    if os.geteuid() == 0:
        for path in (place / "tls", *(place / "tls").iterdir()):
            shutil.chown(path, "postgres")
    tls = ("ssl=on", f"ssl_cert_file={place}/tls/tls.crt", f"ssl_key_file={place}/tls/tls.key")
    postgres = Postgres(place, "postgres", *tls)
    storage = Storage(folder / "s3", ours / "seaweedfs-identities" / "s3.json")
    port = free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "AWS_"))},
        "PATH": f"{BINARIES[-1]}:{os.environ['PATH']}",
        "SECRETS": str(ours), "PGHOST": "localhost", "PGPORT": str(postgres.port),
        "PGSSLROOTCERT": str(ours / "internal-ca" / "ca.crt"), "PORT": str(port),
        "MLFLOW_HOST": "127.0.0.1", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        # as in the base: exact names with their ports
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"mlflow.image-classification.svc:{port},127.0.0.1:{port}",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts",
        "MLFLOW_S3_ENDPOINT_URL": storage.endpoint, "S3_ENDPOINT_URL": storage.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": "^models:/m-[0-9a-f]+$",
        "MODEL_NAME": MODEL, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return Services(folder, made, postgres, storage, Mlflow(folder, environment), environment)


def _prepare(services: Services) -> None:
    """Databases and roles, tables, buckets: what the jobs do before the server starts."""
    inside = {"PGHOST": str(services.postgres.data), "PGUSER": "postgres"}
    require(services.run("bash", BASE / "postgres" / "databases.sh", **inside))
    hba = (BASE / "postgres" / "pg_hba.conf").read_text()
    local = "local all postgres trust\n"
    (services.postgres.data / "pg_hba.conf").write_text(local + hba)
    services.ask("SELECT pg_reload_conf()", "postgres")
    start = BASE / "mlflow" / "start.py"
    for verb in ("migrate", "migrate", "wait"):
        require(services.run(sys.executable, start, verb))
    buckets = KUSTOMIZE / "overlays" / "local" / "buckets.py"
    for _ in range(2):
        require(services.run(sys.executable, buckets, "mlflow", "dvc", "backups"))
