"""A project as its users have it: published with its images on S3, fetched, worked on."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from components.tracking.lineage import dvc_hash
from pipeline.kubeflow.fetch import fetch
from tests.components.conftest import ROOT
from tests.services.overlay import Services
from tests.services.servers import keys
from tests.test_end_to_end import Project, copy_project, copy_slice

PER_CLASS = 50


class UserProject(Project):
    """A checkout whose MLflow is a server, used by one of its users."""

    def __init__(self, root: Path, services: Services, user: str) -> None:
        super().__init__(root)
        storage = {name.upper(): value for name, value in keys(services.secret("s3-dvc")).items()}
        storage["AWS_ENDPOINT_URL_S3"] = services.storage.endpoint
        self.environment |= {**storage, **services.user(user)}

    def register(
        self, meanwhile: Callable[[], None] = lambda: None
    ) -> subprocess.CompletedProcess[str]:
        """The command of the stage, whose exit code DVC would hide; returns when it has ended."""
        stages = yaml.safe_load((self.root / "dvc.yaml").read_text())["stages"]
        command = stages["register"]["cmd"].split()
        process = subprocess.Popen(
            command, cwd=self.root, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            meanwhile()
            output, errors = process.communicate()
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def command(self, *words: str, code: int = 0) -> str:
        return self.run("python", "-m", "pipeline", *words, code=code)


@dataclass(frozen=True)
class Published:
    """A commit whose images lie on S3."""

    root: Path
    revision: str
    data_hash: str

    def fetch(self, target: Path, services: Services, **changes: str) -> UserProject:
        """Fetch it with the keys of the secret `s3-dvc`, but for `changes`."""
        project = UserProject(target, services, "trainer")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**project.environment, **changes}.items():
                patch.setenv(name, value)
            fetch(target, str(self.root), self.revision, self.data_hash)
        return project


def publish(root: Path, services: Services) -> Published:
    """Commit the project with a slice of the sample, and push its images to a bucket."""
    copy_project(root)
    (root / ".dvc" / ".gitignore").write_text((ROOT / ".dvc" / ".gitignore").read_text())
    copy_slice(root / "data/images", PER_CLASS)
    project = UserProject(root, services, "trainer")
    project.set_params({"tune.num_trials": 1})
    project.run("git", "init", "-q")
    # This, committed, is all that a cluster needs to know of the storage.
    project.run("dvc", "remote", "add", "--default", "storage", "s3://dvc/images")
    project.run("dvc", "add", "-q", "data/images")
    project.run("dvc", "push", "-q")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "data and code")
    revision = project.run("git", "rev-parse", "HEAD").strip()
    return Published(root, revision, dvc_hash(root / "data/images.dvc"))


@dataclass(frozen=True)
class FirstModel:
    """What happened to the first model.

    Attributes:
        project: the promoter's, with everything done.
        refused: what register did for the trainer.
        output: the promoter's first `dvc repro`.
    """

    project: UserProject
    refused: subprocess.CompletedProcess[str]
    output: str


def train_and_register(published: Published, root: Path, services: Services) -> FirstModel:
    """Fetch, train as trainer, register as promoter."""
    trainer = published.fetch(root, services)
    trainer.run("dvc", "repro", "evaluate")
    refused = trainer.register()
    promoter = UserProject(root, services, "promoter")
    return FirstModel(promoter, refused, promoter.run("dvc", "repro"))
