"""A checkout that a cluster could fetch: pushed to a bare repository, its images to a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.components.conftest import ROOT

GIT = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "test"), ("EMAIL", "test@example.org"))
}
_FILES = ("params.yaml", "dvc.yaml", "requirements.lock")


class Checkout:
    """A small project with the real params.yaml and dvc.yaml."""

    def __init__(self, root: Path) -> None:
        self.root, self.bare, self.storage = root / "project", root / "bare.git", root / "storage"

    def make(self, image: bytes) -> Checkout:
        """Write, commit and push everything."""
        (self.root / "data/images/cat").mkdir(parents=True)
        (self.root / "data/images/cat/1.png").write_bytes(image)
        for name in _FILES:
            shutil.copy(ROOT / name, self.root / name)
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "init", "--quiet", "--bare", str(self.bare))
        self.run("git", "remote", "add", "origin", str(self.bare))
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "remote", "add", "--default", "storage", "../storage")
        self.run("dvc", "add", "--quiet", "data/images")
        self.run("dvc", "push", "--quiet")
        self.commit()
        self.run("git", "push", "--quiet", "origin", "main")
        return self

    def commit(self) -> str:
        """Commit all files; returns the revision."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "change")
        return self.revision()

    def revision(self) -> str:
        """The commit that is checked out."""
        return self.run("git", "rev-parse", "HEAD")

    def run(self, *command: str) -> str:
        """What git or dvc print."""
        words = [sys.executable, "-m", *command] if command[0] == "dvc" else list(command)
        environment = {**os.environ, **GIT, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(
            words, cwd=self.root, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def copy(self, root: Path) -> Checkout:
        """The same, elsewhere: making it takes seconds."""
        shutil.copytree(self.root.parent, root)
        other = Checkout(root)
        other.run("git", "remote", "set-url", "origin", str(other.bare))
        return other
