"""What DVC's remote lacks of the images, asked of the remote itself.

`dvc status --cloud` and `dvc push` compare it with the local cache, and find nothing missing where
both are empty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

from components.core.errors import PipelineError, ServiceUnavailable
from components.core.phrases import short_digest
from pipeline.kubeflow import git_state


class RemoteImages(NamedTuple):
    """What the remote has of a folder.

    Attributes:
        listed: whether it has the list of the folder's files.
        missing: how many of the listed files it lacks.
        cached: whether the list is in the local cache, without which `dvc push` sends nothing.
    """

    listed: bool
    missing: int
    cached: bool


def look(data_hash: str, seconds: float) -> RemoteImages:
    """Ask the default remote, in a process of its own, which can be ended.

    Args:
        data_hash: DVC's hash of the folder: 32 hex digits and `.dir`.
        seconds: how long it may take.

    Raises:
        ServiceUnavailable: the remote cannot be asked.
        TimeoutError: it has not answered in time.
    """
    url = git_state.data_remote()
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", __name__, data_hash],
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{url}: not known after {seconds:g} s.") from error
    if done.returncode:
        # the last line of a traceback: module.Class: message
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ServiceUnavailable(f"{url}: {last.split(': ', 1)[-1]}")
    return RemoteImages(**json.loads(done.stdout))


def require(data_hash: str, seconds: float) -> None:
    """Refuse images that a run could not fetch; `look` says what is asked.

    Raises:
        PipelineError: the remote lacks some, and what to do.
        ServiceUnavailable: as `look`.
        TimeoutError: as `look`.
    """
    found = look(data_hash, seconds)
    if found.listed and not found.missing:
        return
    lacks = f"lacks {found.missing:,} files of" if found.listed else "does not have"
    # What is not in the cache is not pushed, and nothing is said.
    how = "dvc push" if found.cached else f"dvc add {git_state.POINTER.with_suffix('')} && dvc push"
    raise PipelineError(
        f"{git_state.data_remote()}: {lacks} the images {short_digest(data_hash)} of "
        f"{git_state.POINTER}; `{how}`."
    )


def _ask(data_hash: str) -> RemoteImages:
    from dvc.repo import Repo

    with Repo() as repo:
        cached = repo.cache.local.exists(data_hash)
        remote = repo.cloud.get_remote_odb(hash_name="md5")
        try:
            listing = remote.fs.cat_file(remote.oid_to_path(data_hash))
        except FileNotFoundError:
            return RemoteImages(listed=False, missing=0, cached=cached)
        digests = {entry["md5"] for entry in json.loads(listing)}
        missing = digests.difference(remote.oids_exist(digests))
        return RemoteImages(listed=True, missing=len(missing), cached=cached)


if __name__ == "__main__":
    print(json.dumps(_ask(sys.argv[1])._asdict()))
