"""A child with less than this machine: no network, little memory, a small disk.

Each is skipped in one line where this user may not make it.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest


def run(
    command: Sequence[str],
    *,
    network: bool = True,
    data_mib: int = 0,
    disks: Mapping[Path, str] | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end.

    Args:
        command: its words.
        network: False = a namespace without routes, where this user may make one.
        data_mib: RLIMIT_DATA; 0 = none.
        disks: folder -> size of a tmpfs that is mounted there for the child alone, e.g. 64k.
        cwd: its folder.
        environment: of the child, over this process's.
    """
    words = [*command]
    if disks:
        mounts = [f"mount -t tmpfs -o size={size} tmpfs '{path}'" for path, size in disks.items()]
        words = ["sh", "-ec", f'{"; ".join(mounts)}; exec "$@"', "sh", *words]
    kinds = [*(["-m"] if disks else []), *([] if network else ["-n"])]
    if kinds:
        require_namespaces(*kinds)
        words = ["unshare", *kinds, *words]

    def limit() -> None:
        if data_mib:
            resource.setrlimit(resource.RLIMIT_DATA, (data_mib << 20, data_mib << 20))

    return subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )


def require_namespaces(*kinds: str) -> None:
    """Skip the test where this user may not make such a namespace."""
    tried = ["unshare", *kinds, "true"]
    if not shutil.which("unshare") or subprocess.run(tried, check=False).returncode:
        pytest.skip(f"may not make namespaces (unshare {' '.join(kinds)})")


def pipeline(*words: str) -> list[str]:
    """A command of the pipeline."""
    return [sys.executable, "-m", "pipeline", *words]
