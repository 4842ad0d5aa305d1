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


class Desk(Project):
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
        command = stages["register"]["cmd"].rpartition("&&")[2].split()
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

    def verb(self, *words: str, code: int = 0) -> str:
        return self.run("python", "-m", "pipeline", *words, code=code)


@dataclass(frozen=True)
class Published:
    """A commit whose images lie on S3."""

    root: Path
    revision: str
    data_hash: str

    def fetch(self, target: Path, services: Services, **changes: str) -> Desk:
        """Fetch it with the keys of the secret `s3-dvc`, but for `changes`."""
        desk = Desk(target, services, "trainer")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**desk.environment, **changes}.items():
                patch.setenv(name, value)
            fetch(target, str(self.root), self.revision, self.data_hash)
        return desk


def publish(root: Path, services: Services) -> Published:
    """Commit the project with a slice of the sample, and push its images to a bucket."""
    copy_project(root)
    (root / ".dvc" / ".gitignore").write_text((ROOT / ".dvc" / ".gitignore").read_text())
    copy_slice(root / "data/images", PER_CLASS)
    desk = Desk(root, services, "trainer")
    desk.set_params({"tune.num_trials": 1})
    desk.run("git", "init", "-q")
    # This, committed, is all that a cluster needs to know of the storage.
    desk.run("dvc", "remote", "add", "--default", "storage", "s3://dvc/images")
    desk.run("dvc", "add", "-q", "data/images")
    desk.run("dvc", "push", "-q")
    desk.run("git", "add", "-A")
    desk.run("git", "commit", "-q", "-m", "data and code")
    revision = desk.run("git", "rev-parse", "HEAD").strip()
    return Published(root, revision, dvc_hash(root / "data/images.dvc"))


@dataclass(frozen=True)
class Story:
    """What happened to the first model.

    Attributes:
        desk: the promoter's, with everything done.
        refused: the trainer's attempt to register.
        first: the promoter's first `dvc repro`.
    """

    desk: Desk
    refused: subprocess.CompletedProcess[str]
    first: str


def begin(published: Published, root: Path, services: Services) -> Story:
    """Fetch, train as trainer, register as promoter."""
    trainer = published.fetch(root, services)
    trainer.run("dvc", "repro", "evaluate")
    refused = trainer.register()
    promoter = Desk(root, services, "promoter")
    return Story(promoter, refused, promoter.run("dvc", "repro"))
