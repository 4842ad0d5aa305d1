"""The state of the checkout that a run on a cluster would fetch: revision, images, storage."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

from components.core.errors import MissingInput, PipelineError, ServiceUnavailable
from components.core.phrases import listing, short_digest
from components.tracking import lineage, server

POINTER = Path("data/images.dvc")
DVC_CONFIG = Path(".dvc/config")
_LOCAL_DVC_CONFIG = Path(".dvc/config.local")

_SECONDS = 8


class Source(NamedTuple):
    """What a run fetches.

    Attributes:
        repository: URL that git understands on the cluster.
        revision: full git commit, 40 hex digits.
        data_hash: DVC's hash of data/images: 32 hex digits and `.dir`.
    """

    repository: str
    revision: str
    data_hash: str


def read(repository: str | None) -> Source:
    """The committed and pushed state of the current folder.

    Args:
        repository: where the cluster fetches from; None = the remote `origin`.

    Raises:
        PipelineError: something is not committed, not pushed, or not there.
        ServiceUnavailable: the repository does not answer.
    """
    require_root()
    revision = require_committed()
    data_hash = require_data()
    data_remote()
    url = repository or origin()
    require_pushed(url, revision)
    return Source(url, revision, data_hash)


def head() -> str:
    """The full revision of HEAD."""
    return _git("rev-parse", "--verify", "HEAD").strip()


def require_root() -> None:
    """Refuse a project that is a folder of a larger repository: fetch expects it at the root."""
    folder = _git("rev-parse", "--show-prefix").strip().rstrip("/")
    if folder:
        raise PipelineError(
            f"git: this project is the folder {folder} of a larger repository, and a run on a "
            "cluster fetches repositories whose root is the project; `git subtree split "
            f"--prefix={shlex.quote(folder)} --branch project` at the root makes such a branch: "
            "push it to a repository of its own, and submit from a clone of that."
        )


def require_committed() -> str:
    """The full revision of HEAD, if all tracked files of the project are as it says."""
    revision = head()
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".").splitlines()
    if changed:
        names = listing([line[3:] for line in changed], 1)
        raise PipelineError(
            f"git: {names} differs from {short_digest(revision)}, and a run fetches commits only; "
            "`git commit -a`, then `git push`."
        )
    return revision


def require_data() -> str:
    """The hash in data/images.dvc, which git must know."""
    data_hash = lineage.dvc_hash(POINTER)
    if not re.fullmatch(r"[0-9a-f]{32}\.dir", data_hash):
        found = "names no folder" if POINTER.exists() else "does not exist"
        raise MissingInput(f"{POINTER}: {found}; `dvc add data/images`, then commit it.")
    if not _git("ls-files", str(POINTER)):
        raise PipelineError(f"{POINTER}: is not in git; `git add {POINTER}`, then commit and push.")
    return data_hash


def data_remote() -> str:
    """The URL of DVC's default remote in .dvc/config, the only DVC settings that git carries."""
    config = _read_config(DVC_CONFIG)
    name = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{name}\"'", "url", fallback="")
    if not url:
        raise PipelineError(
            f"{DVC_CONFIG}: names no default remote, so the cluster cannot find the images; "
            "`dvc remote add --default storage s3://BUCKET/PATH`, `dvc push`, commit and push."
        )
    return url


def dvc_ignores_git() -> bool:
    """Whether DVC was told that there is no git, as `make install` does where it finds none."""
    config = _read_config(_LOCAL_DVC_CONFIG)
    return config.get("core", "no_scm", fallback="").lower() in ("true", "1", "yes")


def _read_config(path: Path) -> configparser.ConfigParser:
    """DVC's settings in a file; none if it does not exist."""
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read(path)
    except configparser.Error as error:
        text = " ".join(str(error).split())
        raise PipelineError(f"{path}: cannot be read ({text}); fix it.") from error
    return config


def origin() -> str:
    """The URL of the remote `origin`."""
    try:
        return _git("remote", "get-url", "origin").strip()
    except PipelineError as error:
        raise PipelineError(
            "git: there is no remote `origin`; `git remote add origin URL` and push, or pass "
            "--repository URL."
        ) from error


def require_pushed(repository: str, revision: str) -> None:
    """Refuse a revision that the repository does not have, and a URL that holds a secret."""
    require_no_secret(repository)
    shown = server.without_credentials(repository)
    try:
        listed = _git("ls-remote", "--quiet", "--", repository)
    except PipelineError as error:
        raise ServiceUnavailable(
            f"{error} Check the address and your rights, or pass --repository URL."
        ) from error
    tips = {line.split()[0] for line in listed.splitlines()}
    if revision not in tips and _unknown_to(tips, revision):
        raise PipelineError(
            f"{shown}: does not have the revision {short_digest(revision)}; `git push`, then "
            "submit again."
        )


def require_no_secret(repository: str) -> None:
    """Refuse a URL that holds a name or a password."""
    if re.match(r"https?://[^/\s]*@", repository):
        raise PipelineError(
            f"{server.without_credentials(repository)}: its URL holds a name or a password, which "
            "everybody could read in the run's parameters; pass --repository URL without them."
        )


def _unknown_to(tips: set[str], revision: str) -> bool:
    """Whether the revision is behind none of the tips, as far as this checkout knows them."""
    revisions = "\n".join([revision, *(f"^{tip}" for tip in tips)])
    arguments = ("rev-list", "--ignore-missing", "--max-count=1", "--stdin")
    return bool(_git(*arguments, stdin=f"{revisions}\n").strip())


def _git(*words: str, stdin: str = "") -> str:
    """What git prints; it never prompts for a password."""
    no_prompts = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *words],  # noqa: S607
            input=stdin,
            env={**no_prompts, **os.environ},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise PipelineError("git: is not on PATH; install it.") from error
    except subprocess.TimeoutExpired as error:
        raise ServiceUnavailable(f"git {words[0]}: no answer in {_SECONDS} s.") from error
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise PipelineError(f"git {words[0]}: {server.without_credentials(message)}.")
    return done.stdout
