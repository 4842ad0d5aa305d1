"""Tests on a real cluster: the one that KUBECONFIG and KF_PIPELINES_ENDPOINT name.

They install overlay `local`, run the pipeline, break things, and leave nothing behind. Variables:

    CLUSTER_IMAGE        NAME@sha256:DIGEST of target cuda, as the nodes know it
    CLUSTER_POSTGRES     the same of PostgreSQL
    CLUSTER_SEAWEEDFS    the same of SeaweedFS
    CLUSTER_HOST         where pods reach this machine's port 9418; else the node's own address
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import installation as installing
from tests.cluster.installation import IMAGES, Installation
from tests.cluster.kubeflow_api import forget_model
from tests.cluster.kubernetes import find
from tests.cluster.newcomer import Newcomer, newcomer

_NEEDED = ("KUBECONFIG", "KF_PIPELINES_ENDPOINT", *sorted(set(IMAGES.values())))


@pytest.fixture(scope="session", autouse=True)
def _cluster() -> None:
    """Skip, in one line, where there is no cluster."""
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        pytest.skip(f"no cluster: {', '.join(missing)} not set; see tests/cluster/conftest.py")
    ready = subprocess.run([find(), "get", "--raw", "/readyz"], capture_output=True, check=False)
    if ready.returncode:
        pytest.skip(f"no cluster: {ready.stderr.decode().strip()}")


@pytest.fixture(scope="session")
def installation(
    _cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Overlay `local`, serving; removed afterwards."""
    found = installing.prepare(tmp_path_factory.mktemp("installed"))
    try:
        installing.install(found)
        yield found
    finally:
        forget_model()
        installing.remove(found)


@pytest.fixture(scope="session")
def project(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Newcomer]:
    """The sample, published."""
    folder: Path = tmp_path_factory.mktemp("newcomer")
    with newcomer(folder, installation) as found:
        found.publish()
        yield found
