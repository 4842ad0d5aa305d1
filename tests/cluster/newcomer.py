"""A project of the sample's images as its user has it: published, pushed, submitted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.installation import Installation
from tests.cluster.kubernetes import RUNS, get, kubectl, port_forward, until
from tests.test_end_to_end import Project, copy_project, copy_slice

S3_IN_CLUSTER = "http://seaweedfs.image-classification.svc:8333"

PER_CLASS = 150  # images of the sample

# What two cores without a GPU can do in minutes.
SMALL: dict[str, Any] = {
    "tune.num_trials": 2,
    "tune.epochs": [1, 2],
    "tune.learning_rate": [0.001, 0.001],
    "cluster.storage_endpoint": S3_IN_CLUSTER,
    "cluster.workspace_gib": 2.0,
    "cluster.retry_seconds": 5,
    **{
        f"cluster.{step}.{name}": value
        for step in ("fetch", "validate", "tune", "train", "evaluate", "register")
        for name, value in {"cpu": [0.2, 2], "memory_gib": [1, 4], "minutes": 30}.items()
    },
    **{f"cluster.{step}.gpus": 0 for step in ("tune", "train")},
    **{f"cluster.{step}.shared_memory_gib": 0.5 for step in ("tune", "train")},
}


class Submission:
    """A `submit --wait` that goes on."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process, self._output = process, output

    @property
    def text(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    @property
    def run(self) -> str:
        """The id of its run, once it has started."""
        self.until(r"^run [0-9a-f-]{36}: http", 120)
        return run_of(self.text)

    def until(self, pattern: str, seconds: float) -> None:
        """Wait until it has printed this."""

        def found() -> bool:
            printed = re.search(pattern, self.text, re.MULTILINE)
            assert printed or self._process.poll() is None, self.text
            return bool(printed)

        until(seconds, f"{pattern} in:\n{self.text}", found)

    def until_log(self, step: str, pattern: str, seconds: float = 900) -> None:
        """Wait until a step of its run has printed this."""
        run = self.run

        def found() -> bool:
            log = log_of(run, step)
            printed = re.search(pattern, log)
            assert printed or self._process.poll() is None, f"{self.text}\n{log}"
            return bool(printed)

        until(seconds, f"{pattern} in the log of {step}", found)

    def end(self, code: int = 0, seconds: float = 1800) -> str:
        """What it printed, after its end with this exit code."""
        found = self._process.wait(seconds)
        assert found == code, self.text
        assert "Traceback" not in self.text, self.text
        return self.text


class Newcomer(Project):
    """A checkout, its git server and its keys."""

    def __init__(self, root: Path, installation: Installation, repository: str) -> None:
        super().__init__(root)
        self.installation, self.repository = installation, repository
        keys = {"AWS_ACCESS_KEY_ID": "access-key", "AWS_SECRET_ACCESS_KEY": "secret-key"}
        for name, key in keys.items():
            self.environment[name] = installation.secret(RUNS, "s3-dvc", key)

    def publish(self, **changes: Any) -> None:
        """Commit the settings, push images and commit, as infra/README.md says."""
        self.set_params({**SMALL, **{name.replace("__", "."): v for name, v in changes.items()}})
        self.run("git", "add", "--all")
        self.run("git", "commit", "-q", "--allow-empty", "-m", "settings")
        self.run("git", "push", "-q", "origin", "HEAD:refs/heads/main")

    def status(self) -> dict[str, Any]:
        """What `status` says of the registry, to the promoter: the trainer may not see models."""
        with self._mlflow("promoter"):
            found: dict[str, Any] = json.loads(self.pipeline("status", "--json"))
        return found

    def points(self, metric: str) -> list[int]:
        """The steps of a metric of the newest training, as MLflow has them for the trainer."""
        code = (
            "from components.tracking.store import open_store\n"
            "with open_store() as store:\n"
            "    query = \"tags.`pipeline.kind` = 'model'\"\n"
            "    run = store.client.search_runs([store.experiment_id], query, max_results=1)[0]\n"
            f"    points = store.client.get_metric_history(run.info.run_id, {metric!r})\n"
            "    print([point.step for point in points])\n"
        )
        with self._mlflow("trainer"):
            found: list[int] = json.loads(self.run(sys.executable, "-c", code))
        return found

    @contextmanager
    def _mlflow(self, user: str) -> Iterator[None]:
        """As a user, at an address that the server answers to: the one of the README."""
        names = {"MLFLOW_TRACKING_USERNAME": "username", "MLFLOW_TRACKING_PASSWORD": "password"}
        login = {n: self.installation.secret(RUNS, f"mlflow-{user}", k) for n, k in names.items()}
        before = self.environment
        with port_forward("mlflow", 5000, here=5000) as url:
            self.environment = {**before, **login, "MLFLOW_TRACKING_URI": url}
            try:
                yield
            finally:
                self.environment = before

    def push_images(self) -> None:
        """dvc push, through a port-forward to S3."""
        with port_forward("seaweedfs", 8333) as url:
            self.environment["AWS_ENDPOINT_URL_S3"] = url
            self.run("dvc", "push", "-q")

    def submit(self, *words: str, code: int = 0) -> str:
        """`submit` and what it prints, both streams."""
        return self.with_images("submit", "--repository", self.repository, *words, code=code)

    def with_images(self, *words: str, code: int = 0) -> str:
        """A command about the image, which also looks at the pushed images."""
        with port_forward("seaweedfs", 8333) as url:
            self.environment["AWS_ENDPOINT_URL_S3"] = url
            return self.pipeline(*words, "--image", os.environ["CLUSTER_IMAGE"], code=code)

    @contextmanager
    def submitting(self, folder: Path, *words: str) -> Iterator[Submission]:
        """`submit --wait` in the background; killed when the block ends."""
        image = os.environ["CLUSTER_IMAGE"]
        command = [sys.executable, "-u", "-m", "pipeline", "submit", "--image", image, "--wait"]
        output = folder / f"submit-{len(list(folder.glob('submit-*')))}.txt"
        with port_forward("seaweedfs", 8333) as url, output.open("w") as file:
            environment = {**self.environment, "AWS_ENDPOINT_URL_S3": url}
            with subprocess.Popen(
                [*command, "--repository", self.repository, *words],
                cwd=self.root, env=environment, stdout=file, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                try:
                    yield Submission(process, output)
                finally:
                    process.kill()

    def pipeline(self, *words: str, code: int = 0) -> str:
        """A command of the project; both streams, after a look at its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *words],
            cwd=self.root, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        text = done.stdout + done.stderr
        assert done.returncode == code, text
        assert "Traceback" not in text, text
        return text


def run_of(output: str) -> str:
    """The id of the run that `submit` started."""
    found = re.search(r"^run ([0-9a-f-]{36}): http", output, re.MULTILINE)
    assert found, output
    return found[1]


def pods_of(run: str, step: str) -> list[dict[str, Any]]:
    """The pods of a step, oldest first."""
    labels = f"pipeline/runid={run},pipeline-step={step}"
    found = get("pods", "-n", RUNS, "-l", labels)
    return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def log_of(run: str, step: str) -> str:
    """What all pods of a step that are still there have printed."""
    labels = f"pipeline/runid={run},pipeline-step={step}"
    return kubectl("-n", RUNS, "logs", "-l", labels, "-c", "main", "--tail=-1", check=False)


@contextmanager
def newcomer(folder: Path, installation: Installation) -> Iterator[Newcomer]:
    """A project with the sample, and a git server that the cluster reaches."""
    root, bare = folder / "project", folder / "git/project.git"
    copy_project(root)
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    host = os.environ.get("CLUSTER_HOST") or _address_of_this_machine()
    port = 9418
    project = Newcomer(root, installation, f"git://{host}:{port}/project.git")
    project.run("git", "init", "-q")
    project.run("git", "remote", "add", "origin", str(bare))
    project.run("dvc", "remote", "add", "--default", "storage", "s3://dvc/images")
    copy_slice(root / "data/images", PER_CLASS)
    project.run("dvc", "add", "-q", "data/images")
    project.push_images()
    command = ["git", "daemon", "--export-all", f"--base-path={bare.parent}", f"--port={port}"]
    with subprocess.Popen([*command, "--reuseaddr", str(bare.parent)]) as daemon:
        try:
            yield project
        finally:
            daemon.terminate()


def _address_of_this_machine() -> str:
    """Where pods reach it, if the node is this machine: else set CLUSTER_HOST."""
    addresses = [each for node in get("nodes") for each in node["status"]["addresses"]]
    return next(str(each["address"]) for each in addresses if each["type"] == "InternalIP")
