"""Bring a pinned revision and its images into the workspace of a run, and verify both."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from components.core.errors import ChangedInput, InvalidParams, ServiceUnavailable
from components.core.phrases import short_digest
from components.tracking import lineage, server

_IMAGES = "data/images"
POINTER = f"{_IMAGES}.dvc"
_DVC = (sys.executable, "-m", "dvc")
_BLOCK = 1 << 20
_REASON_CHARACTERS = 200

# Asked by git for a name and a password; they are in no command line and in no file.
_CREDENTIALS = '!f() { echo "username=$GIT_USERNAME"; echo "password=$GIT_PASSWORD"; }; f'


def fetch(
    project: Path, repository: str, revision: str, data_hash: str, cache: Path | None = None
) -> None:
    """Check out `revision` in `project` and pull its images. Safe to repeat after a failure.

    Args:
        project: folder to make; a checkout when this returns.
        repository: URL or path that git understands; GIT_USERNAME and GIT_PASSWORD open one that is
            private, over https. Its .dvc/config names the DVC remote; where that is S3 without an
            `endpointurl`, AWS_ENDPOINT_URL_S3 says where S3 is from here.
        revision: full git commit, 40 hex digits: a branch may be another one tomorrow.
        data_hash: DVC's hash of data/images, as in data/images.dvc: 32 hex digits and `.dir`.
        cache: DVC's cache, shared with other runs; None = one of its own. What is in it is linked,
            not copied, and not fetched again.

    Raises:
        InvalidParams: revision or hash is not of that form.
        ChangedInput: the revision has other images, or the storage returned other bytes.
        ServiceUnavailable: git or the storage did not deliver.
    """
    _require(r"[0-9a-f]{32}\.dir", "data_hash", data_hash, f"the md5 in {POINTER}")
    check_out(project, repository, revision)
    where = f"{short_digest(revision)}:{POINTER}"
    _compare(where, lineage.dvc_hash(project / POINTER), data_hash)
    if cache:
        for name, value in (("dir", str(cache)), ("type", "hardlink,copy")):
            _run(project, *_DVC, "config", "--local", f"cache.{name}", value)
    _run(project, *_DVC, "pull", "--force", POINTER)
    try:
        _compare(str(project / _IMAGES), folder_hash(project / _IMAGES), data_hash)
    except ChangedInput:
        # DVC would take them from its cache again, however often its storage is repaired.
        shutil.rmtree(project / _IMAGES, ignore_errors=True)
        _discard_damaged(cache or project / ".dvc/cache")
        raise


def tip(repository: str, branch: str) -> str:
    """The full git commit that a branch of the repository points to.

    Args:
        repository: as for `fetch`.
        branch: its name.

    Raises:
        InvalidParams: there is no such branch.
        ServiceUnavailable: git did not deliver.
    """
    reference = f"refs/heads/{branch}"
    listed = _run(Path(), "git", "ls-remote", "--quiet", "--", repository, reference)
    if not listed:
        raise InvalidParams(
            f"{server.without_credentials(repository)}: has no branch {branch!r}; "
            "`submit --branch` with one that exists."
        )
    return listed.split()[0]


def check_out(project: Path, repository: str, revision: str) -> None:
    """The first half of `fetch`: git alone."""
    _require(r"[0-9a-f]{40}", "revision", revision, "a full git commit, 40 hex digits")
    project.mkdir(parents=True, exist_ok=True)
    _run(project, "git", "init", "--quiet")
    _run(project, "git", "fetch", "--quiet", "--depth=1", "--end-of-options", repository, revision)
    _run(project, "git", "checkout", "--quiet", "--force", "--detach", revision)


def _discard_damaged(cache: Path) -> None:
    """Delete what DVC's cache holds under the hash of other bytes."""
    for path in (cache / "files/md5").rglob("*"):
        if path.is_file() and path.parent.name + path.stem != _md5(path):
            path.unlink()


def folder_hash(folder: Path) -> str:
    """DVC's hash of a folder, from the bytes that are there: DVC itself trusts its storage."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = [{"md5": _md5(p), "relpath": p.relative_to(folder).as_posix()} for p in paths]
    listing.sort(key=lambda entry: entry["relpath"])
    return f"{hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest()}.dir"


def _md5(path: Path) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            md5.update(block)
    return md5.hexdigest()


def _require(pattern: str, name: str, found: str, expected: str) -> None:
    if not re.fullmatch(pattern, found):
        raise InvalidParams(
            f"{name} is {found!r}; it should be {expected}. Start the run with that."
        )


def _compare(where: str, found: str, expected: str) -> None:
    if found != expected:
        raise ChangedInput(
            f"{where}: the images have the hash {found or 'of nothing'}, not {expected}; start the "
            "run with the revision and the hash of one commit, after `dvc push` of that commit."
        )


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        # The reason comes first, then its consequences; DVC marks its lines with a level.
        lines = re.sub(r"(?m)^(ERROR|WARNING): ", "", done.stderr or done.stdout).split("\n")
        reason = " ".join(line.strip() for line in lines if line.strip()) or "no message"
        raise ServiceUnavailable(
            f"fetch: `{' '.join(command[:4])}` failed ({reason[:_REASON_CHARACTERS]}); "
            "check the repository, its DVC remote and the keys, then run again."
        )
    return str(done.stdout)


def _environment() -> dict[str, str]:
    """Ours, in which git never prompts, and has the credentials if there are any."""
    mine = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    if "GIT_USERNAME" in mine:
        setting = {"KEY_0": "credential.helper", "VALUE_0": _CREDENTIALS, "COUNT": "1"}
        mine |= {f"GIT_CONFIG_{name}": value for name, value in setting.items()}
    return mine
