"""Where a run comes from: the git revision, DVC's hash of the images, and who made it."""

import getpass
import os
import socket
import subprocess
from pathlib import Path

from components.core.errors import PipelineError
from components.io.yaml_file import read_yaml

_GIT = ["git", "rev-parse", "HEAD"]
# DVC rewrites its lock file while it runs: the run itself is no change of the code. Nor can texts
# and tests change a model.
_CHANGES = ["git", "status", "--porcelain", "--untracked-files=no", "--", ":/"]
_CHANGES += [f":(top,exclude,glob)**/{name}" for name in ("dvc.lock", "*.md")]
_CHANGES += [":(exclude)docs", ":(exclude)tests"]

_TIMEOUT_SECONDS = 20


def tags() -> dict[str, str]:
    """Tags `git` and `dvc`; without those that cannot be known here."""
    found = {"git": git_revision(), "dvc": dvc_hash(Path("data/images.dvc"))}
    return {name: value for name, value in found.items() if value}


def git_revision() -> str:
    """The commit of the current folder; empty outside a repository.

    It ends with -dirty when tracked files differ from it that could change a model: not dvc.lock,
    *.md, docs/ and tests/.
    """
    try:
        commit = _output(_GIT)
        return f"{commit}-dirty" if _output(_CHANGES) else commit
    except (OSError, subprocess.SubprocessError):
        return ""


def _output(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
    )
    return done.stdout.strip()


def dvc_hash(pointer: Path) -> str:
    """The hash in a .dvc file, `<32 hex digits>.dir` for a folder; empty without one."""
    try:
        return str(read_yaml(pointer)["outs"][0]["md5"])
    except (OSError, PipelineError, LookupError, TypeError):
        return ""


def current_actor() -> str:
    """Who acts: MLflow's user or the login, and the host."""
    try:
        login = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        login = f"uid {os.getuid()}"
    return f"{login}@{socket.gethostname()}"
