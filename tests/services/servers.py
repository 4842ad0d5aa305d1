"""PostgreSQL, SeaweedFS as S3, and MLflow's server: processes of this machine, on free ports.

Started as the overlays start them, ended by the id of the process.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from tests.processes import free_port

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "infra" / "kustomize"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
WEED = ROOT / ".tools" / "bin" / "weed"

_SECONDS = 240  # MLflow makes its tables and imports for minutes on a busy machine
_LINES = 25


def as_postgres(*command: object) -> None:
    """PostgreSQL refuses to run as root."""
    words = [str(word) for word in command]
    before = [] if os.geteuid() else ["runuser", "-u", "postgres", "--"]
    subprocess.run([*before, *words], check=True, capture_output=True, timeout=60)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


def _fail(name: str, log: Path) -> NoReturn:
    tail = log.read_text(errors="replace").splitlines()[-_LINES:]
    pytest.fail(f"{name} does not answer; the end of its log:\n" + "\n".join(tail))


class Process:
    """A server with a log that is shown if it does not come up."""

    def __init__(
        self,
        log: Path,
        command: list[str],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
    ) -> None:
        self.log, self.command, self.environment, self.ready = log, command, environment, ready
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.command, env=self.environment, cwd=self.log.parent, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _SECONDS
        while not self.ready():
            if self.running.poll() is not None or time.monotonic() > deadline:
                self.end()
                _fail(self.log.stem, self.log)
            time.sleep(0.2)

    def end(self) -> None:
        """Kill it and its workers, as a machine does that fails."""
        if self.running is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()
            self.running = None


class Postgres:
    """A cluster of PostgreSQL in a folder of its own; `trust` until somebody says otherwise."""

    def __init__(self, folder: Path, user: str, *settings: str, encoding: str = "UTF8") -> None:
        if not BINARIES:
            pytest.fail("PostgreSQL is missing; run infra/install_postgres.sh")
        self.data, self.port = folder / "data", free_port()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        as_postgres(BINARIES[-1] / "initdb", "-D", self.data, "-U", user, "--auth=trust",
                    "--no-sync", "-E", encoding, "--locale=C")  # fmt: skip
        default = (f"port={self.port}", "listen_addresses=127.0.0.1", "fsync=off",
                   f"unix_socket_directories={self.data}")  # fmt: skip
        self._options = " ".join(f"-c {setting}" for setting in (*default, *settings))

    def start(self) -> None:
        try:
            self.control("-l", self.data / "log", "-o", self._options, "start")
        except subprocess.CalledProcessError:
            _fail("PostgreSQL", self.data / "log")

    def end(self) -> None:
        self.control("-m", "immediate", "stop")  # by the id in its postmaster.pid

    def crash_and_restart(self) -> None:
        self.control("-l", self.data / "log", "-o", self._options, "-m", "immediate", "restart")

    def control(self, *words: object) -> None:
        as_postgres(BINARIES[-1] / "pg_ctl", "-D", self.data, "-w", *words)


class Storage(Process):
    """SeaweedFS with the options of overlays/local; only folders, ports and addresses differ."""

    def __init__(self, folder: Path, identities: Path) -> None:
        if not WEED.exists():
            pytest.fail("SeaweedFS is missing; run make .tools/installed")
        container = _container(KUSTOMIZE / "overlays" / "local" / "seaweedfs.yaml", "seaweedfs")
        ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        inner = {name: free_port() for name in ports}
        (folder / "data").mkdir(parents=True)
        replaced = {
            "-ip.bind": "127.0.0.1", "-dir": folder / "data", "-s3.config": identities,
            "-filer.localSocket": folder / "filer.sock", "-s3.localSocket": folder / "s3.sock",
            **{f"-{name}.port": port for name, port in ports.items()},
            **{f"-{name}.port.grpc": port for name, port in inner.items()},
        }  # fmt: skip
        options = [word for word in container["command"][1:] if word.split("=")[0] not in replaced]
        options += [f"{name}={value}" for name, value in replaced.items()]
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        sockets = (f"/tmp/seaweedfs-{name}-grpc-{port}.sock" for name, port in inner.items())
        self.sockets = [Path(name) for name in sockets]
        health = self.endpoint + container["readinessProbe"]["httpGet"]["path"]
        command = [str(WEED), *options]
        super().__init__(folder / "seaweedfs.log", command, os.environ, lambda: answers(health))

    def end(self) -> None:
        super().end()
        for socket_file in self.sockets:  # it has no option for these
            socket_file.unlink(missing_ok=True)

    def client(self, secret: Path) -> Any:
        """boto3's client with the keys of a secret."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys(secret)
        )


def keys(secret: Path) -> dict[str, str]:
    """The keys of a mounted secret, by the names of boto3's arguments."""
    return {
        "aws_access_key_id": (secret / "access-key").read_text(),
        "aws_secret_access_key": (secret / "secret-key").read_text(),
    }


class Mlflow(Process):
    """MLflow's server, started by the script of the overlays."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        uri = environment["MLFLOW_TRACKING_URI"]
        command = [sys.executable, str(KUSTOMIZE / "base" / "mlflow" / "start.py"), "serve"]
        super().__init__(
            folder / "mlflow.log", command, environment, lambda: answers(f"{uri}/health")
        )


def _container(file: Path, name: str) -> Any:
    sets = [each for each in yaml.safe_load_all(file.read_text()) if each["kind"] == "StatefulSet"]
    found = (c for each in sets for c in each["spec"]["template"]["spec"]["containers"])
    return next(container for container in found if container["name"] == name)
