"""The graph as compiled for a cluster, run by kfp in containers, with outcomes to be trusted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kfp import local
from kfp.local import docker_task_handler

from components.core.gate.record import DecisionRecord
from components.io import params
from components.tracking import lineage
from pipeline.kubeflow import graph, sections
from pipeline.kubeflow.compiler import require_outcome
from pipeline.kubeflow.resources import Params
from tests.containers.conftest import S3
from tests.containers.engine import MEMORY, UID, Pod
from tests.test_end_to_end import Project

EXIT_KILLED = 137


@dataclass
class Run:
    """One run of the graph.

    Attributes:
        pod: where the services are.
        folder: holds the run's volume, and what kfp hands from task to task.
        repository: bare git repository that fetch reads.
        source: arguments of fetch.
        codes: exit codes of the containers so far, in order.
    """

    pod: Pod
    folder: Path
    repository: Path
    source: Mapping[str, str]
    codes: list[int] = field(default_factory=list)

    @property
    def checkout(self) -> Path:
        return self.folder / "workspace/checkout"

    @property
    def outputs(self) -> Path:
        return self.checkout / "artifacts"

    def execute(self, project: Project, memory: str = MEMORY, **arguments: str) -> DecisionRecord:
        """Run all tasks; `arguments` replace sections of params.yaml.

        Raises:
            RuntimeError: a task failed.
        """
        for name in ("workspace", "kfp"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, UID, UID)
        cluster = params.load(project.root / "params.yaml", Params).cluster
        tasks = graph.Tasks(self.pod.image.name, cluster, "/workspace", "checkout", "artifacts")
        pipeline = graph.build(sections.to_json(project.root), tasks)
        with self._containers(memory):
            run = pipeline(**self.source, **arguments)
        return require_outcome(self.outputs, str(run.output))

    @contextmanager
    def _containers(self, memory: str) -> Iterator[None]:
        """Make kfp run tasks in restricted containers of the pod."""
        binds = ((self.folder / "workspace", "/workspace"), (self.repository, "/repository"))
        runner = local.DockerRunner(
            network_mode=self.pod.network,
            environment={**self.pod.environment, "AWS_ENDPOINT_URL": S3},
            user=f"{UID}:{UID}",
            read_only=True,
            tmpfs={"/tmp": ""},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=memory,
            mounts=[
                {"Type": "bind", "Source": str(source), "Target": target,
                 "ReadOnly": target == "/repository"}
                for source, target in binds
            ],
        )  # fmt: skip
        local.init(runner, pipeline_root=str(self.folder / "kfp"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", self.pod.image.engine.host)
            patch.setattr(docker_task_handler, "run_docker_container", self._run)
            yield

    def _run(
        self, client: Any, image: str, command: list[str], volumes: object, **settings: object
    ) -> int:
        """What kfp's own function does, but for one thing: it lets the engine remove a container
        that ends, and takes one that it then no longer finds for a success.
        """
        made = client.containers.create(image, command, volumes=volumes, **settings)
        try:
            made.start()
            for line in made.logs(stream=True, follow=True):
                sys.stdout.write(line.decode(errors="replace"))
            code = int(made.wait(timeout=60)["StatusCode"])
        finally:
            made.remove(force=True)
        self.codes.append(code)
        return code


def publish(project: Project, pod: Pod, repository: Path) -> dict[str, str]:
    """Commit the project, push its images to S3 and its history to `repository`.

    Returns:
        The arguments of fetch.
    """
    project.run("git", "init", "-q")
    project.run("dvc", "remote", "add", "-q", "-d", "s3", "s3://dvc/store")
    project.run("dvc", "remote", "modify", "-q", "s3", "endpointurl", S3)
    project.run("dvc", "add", "-q", "data/images")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "data and code")
    # by the owner of the files, who is not the pipeline's user
    owner = ("--user", f"{os.getuid()}:{os.getgid()}")
    there = ("-v", f"{project.root}:/project", "-w", "/project")
    pod.run("python", "-m", "dvc", "push", "-q", options=(*owner, *there))
    project.run("git", "clone", "-q", "--bare", ".", str(repository))
    # git trusts only repositories of its user
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(repository)], check=True)
    return {
        "repository": "/repository",
        "revision": project.run("git", "rev-parse", "HEAD").strip(),
        "data_hash": lineage.dvc_hash(project.root / "data/images.dvc"),
    }
