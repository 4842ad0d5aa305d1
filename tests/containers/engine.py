"""Containers as a cluster would start them, on an engine that the tests start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "infra/scripts"
DOCKER = "/usr/bin/docker"

UID = 54321  # not the image's own, and without an entry in /etc/passwd
MEMORY = "4g"
# What the cluster's pods ask for: see `_apply_resources` of pipeline/kubeflow/graph.py.
RESTRICTED = (
    "--read-only", "--tmpfs", "/tmp", "--user", f"{UID}:{UID}", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--memory", MEMORY,
)  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        host: its socket, as DOCKER_HOST has it.
    """

    host: str

    def docker(self, *words: object, code: int = 0, timeout: float = 300) -> str:
        """Run docker's command line; return stdout and stderr together."""
        done = subprocess.run(
            [DOCKER, *map(str, words)], env={**os.environ, "DOCKER_HOST": self.host},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=timeout,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}: {done.stdout[-4000:]}"
        return done.stdout

    def script(self, name: str, *words: object, **environment: str) -> str:
        """Run one of the scripts of infra/scripts."""
        done = subprocess.run(
            ["sh", SCRIPTS / name, *map(str, words)],
            env={**os.environ, "DOCKER_HOST": self.host, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout


@dataclass(frozen=True)
class Image:
    """The project's image, with what was written at its build."""

    engine: Engine
    name: str
    components: Path

    def run(
        self,
        *command: object,
        options: tuple[object, ...] = (),
        code: int = 0,
        offline: bool = True,
    ) -> str:
        """What a command says in a restricted container of its own, which goes afterwards."""
        network = ("--network", "none") if offline else ()
        words = ("run", "--rm", *network, *RESTRICTED, *options, self.name, *command)
        return self.engine.docker(*words, code=code)


@dataclass(frozen=True)
class Pod:
    """Containers that share one network, in which there is a loopback device and nothing else."""

    image: Image
    folder: Path
    environment: Mapping[str, str]

    @property
    def network(self) -> str:
        return f"container:{self.name}"

    @property
    def name(self) -> str:
        return f"pod-{self.folder.name}"

    def run(self, *command: object, options: tuple[object, ...] = (), code: int = 0) -> str:
        """What a command says, beside the services."""
        mine = (*self.options(), *options)
        return self.image.run(*command, options=mine, code=code, offline=False)

    def start(self, name: str, *command: object, options: tuple[object, ...] = ()) -> None:
        """Start a container that stays until `stop`."""
        words = ("run", "--detach", "--name", f"{self.name}-{name}", *RESTRICTED)
        mine = (*self.options(), *options)
        self.image.engine.docker(*words, *mine, self.image.name, *command)

    def options(self) -> tuple[str, ...]:
        """What makes a container part of this pod."""
        pairs = (("--env", f"{key}={value}") for key, value in self.environment.items())
        return ("--network", self.network, *(word for pair in pairs for word in pair))

    def stop(self) -> None:
        """Remove all containers of this pod."""
        docker = self.image.engine.docker
        if found := docker("ps", "--all", "--quiet", "--filter", f"name={self.name}").split():
            docker("rm", "--force", *found)
