"""What a run survives, and what it says of what it does not."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.gateway import gateway
from tests.cluster.kubeflow_api import ask
from tests.cluster.kubernetes import RUNS, SERVICES, get, kubectl, until
from tests.cluster.newcomer import Newcomer, log_of, pods_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

# Long enough for somebody to get in between.
LONGER = {
    "tune__num_trials": 4,
    "tune__epochs": [4, 4],
    "tune__learning_rate": [0.0005, 0.002],
    "train__epochs": 4,
    "cluster__retry_seconds": 60,
}

AWAY_SECONDS = 120

# The gate may well block one of two models that 44 images cannot tell apart.
VERDICT = r"succeeded; (passed|blocked) 0\.\d+ accuracy on 44 test images"


@contextmanager
def away(kind: str, name: str, namespace: str = SERVICES) -> Iterator[None]:
    """No pods of a service while the block runs, and for two minutes at least."""
    started = time.monotonic()
    count = get(kind, name, "-n", namespace)[0]["spec"]["replicas"]
    kubectl("-n", namespace, "scale", kind, name, "--replicas=0")
    try:
        yield
        time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - started)))
    finally:
        kubectl("-n", namespace, "scale", kind, name, f"--replicas={count}")


@contextmanager
def without_secret(name: str) -> Iterator[None]:
    """No such secret while the block runs."""
    saved = read_secret(name)
    kubectl("-n", RUNS, "delete", "secret", name)
    try:
        yield
    finally:
        kubectl("apply", "-f", "-", stdin=saved)


def read_secret(name: str) -> str:
    """A secret as a manifest that makes it anew."""
    (found,) = get("secret", name, "-n", RUNS)
    metadata = {"name": name, "namespace": RUNS}
    return json.dumps({**found, "metadata": metadata})


def running(run: str, step: str) -> list[str]:
    """Names of the running pods of a step."""
    pods = [pod for pod in pods_of(run, step) if pod["status"]["phase"] == "Running"]
    return [str(pod["metadata"]["name"]) for pod in pods]


def delete_pods(run: str, step: str, count: int) -> None:
    """Delete the running pods of a step, at once, when there are so many."""
    until(300, f"{count} pods of {step} run", lambda: len(running(run, step)) == count)
    names = running(run, step)
    kubectl("-n", RUNS, "delete", "pod", "--grace-period=0", "--force", *names)


def test_services_that_are_away_cost_nothing_but_time(project: Newcomer, tmp_path: Path) -> None:
    """A branch's run without S3, then Kubeflow's API, then MLflow, then the promoter's secret."""
    project.publish(**LONGER)
    with gateway() as api, project.submitting(
        tmp_path, "--branch", "main", "--endpoint", api.url
    ) as submission:  # fmt: skip
        assert submission.run
        with away("statefulset", "seaweedfs"):
            submission.until_log("fetch", "error: fetch: ")
        submission.until("validate +succeeded", 600)
        api.close()
        submission.until("does not answer", 60)
        api.open()
        submission.until("answers again", 60)
        submission.until_log("train", "epoch 1/4")
        with without_secret("mlflow-promoter"):
            with away("deployment", "mlflow"):
                pass
            submission.until("train +succeeded", 900)
            assert project.points("train/loss") == [1, 2, 3, 4]
            submission.until('register +waits: CreateContainerConfigError: secret "mlflow-pro', 300)
        output = submission.end()
    assert re.search(VERDICT, output), output

    again = project.submit("--branch", "main", "--wait")
    assert "unchanged since its last verdict" in again, again


def test_lost_pods_and_a_drained_node_cost_nothing_but_time(
    project: Newcomer, tmp_path: Path
) -> None:
    """Two workers on a standing volume, and beside them a second run for the same model."""
    claim = project.installation.make_standing_volume()
    shared = {"cluster__access_mode": "ReadWriteMany", "cluster__workspace_claim": claim}
    # Other rates are another study: the trials of one that is done are not run again.
    longer = {**LONGER, "train__epochs": 8, "tune__learning_rate": [0.0004, 0.002]}
    project.publish(**longer, **shared, cluster__workers=2)
    with project.submitting(tmp_path) as submission:
        run = submission.run
        submission.until_log("tune", r"trial \d +epoch 1/4")
        delete_pods(run, "tune", 2)
        submission.until_log("train", "epoch 3/8")  # so the checkpoint of the second is whole
        delete_pods(run, "train", 1)
        with project.submitting(tmp_path) as other:
            assert other.run != run
            submission.until_log("train", r"resumed after \d epochs")
            until(600, "evaluate runs", lambda: log_of(run, "evaluate"))
            drain(run)
            outputs = [submission.end(), other.end()]
    for output in outputs:
        assert re.search(VERDICT, output), output
    assert project.status()["problems"] == []


def drain(run: str) -> None:
    """Drain the nodes with pods of the run, of these pods, and open them again."""
    pods = get("pods", "-n", RUNS, "-l", f"pipeline/runid={run}")
    nodes = {p["spec"]["nodeName"] for p in pods if p["status"]["phase"] == "Running"}
    words = ("--force", "--delete-emptydir-data", "--ignore-daemonsets", "--grace-period=5")
    try:
        for node in nodes:
            kubectl("drain", node, f"--pod-selector=pipeline/runid={run}", *words)
    finally:
        for node in nodes:
            kubectl("uncordon", node)


def test_a_step_that_is_killed_for_memory_says_so(project: Newcomer) -> None:
    small = {"memory_gib": [0.25, 0.5], "shared_memory_gib": 0.25}
    project.publish(
        cluster__retries=1, **{f"cluster__tune__{name}": value for name, value in small.items()}
    )
    output = project.submit("--wait", code=1)
    assert re.search(r"tune: .*OOMKilled.*cluster\.tune\.memory_gib", output), output
    assert "not run: evaluate, register, train" in output


def test_a_wrong_digest_is_said_while_it_waits(project: Newcomer, tmp_path: Path) -> None:
    project.publish()
    wrong = f"localhost/no-such-image@sha256:{'0' * 64}"
    with project.submitting(tmp_path, "--image", wrong) as submission:
        submission.until("fetch +waits: ErrImagePull: ", 60)
        ask("POST", f"runs/{submission.run}:terminate")
        assert "not run: evaluate" in submission.end(code=1)


def test_retry_after_a_refusal_goes_on_where_it_was(project: Newcomer, tmp_path: Path) -> None:
    """As on the run's page: a person mends the cause, and presses Retry."""
    project.publish()
    secret = read_secret("mlflow-promoter")
    with project.submitting(tmp_path) as submission:
        run = submission.run
        wrong = '{"stringData": {"password": "not the promoter\'s password"}}'
        kubectl("-n", RUNS, "patch", "secret", "mlflow-promoter", "-p", wrong)
        try:
            output = submission.end(code=1)
        finally:
            kubectl("apply", "-f", "-", stdin=secret)
    assert "register failed" in output
    weights = log_of(run, "train")
    ask("POST", f"runs/{run}:retry")
    output = project.pipeline("submit", "--follow", run)
    assert "succeeded; " in output
    assert log_of(run, "train") == weights


def test_a_full_volume_is_named(project: Newcomer, small_volume: str) -> None:
    project.publish(cluster__workspace_claim=small_volume, cluster__retries=0)
    output = project.submit("--wait", code=1)
    assert re.search(r"fetch failed \(.*No space left on device", output), output


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[str]:
    """The name of a claim of 8 MiB, on a file system of this machine, which must be the node."""
    folder = tmp_path / "volume"
    folder.mkdir()
    options = "size=8m,uid=10001,gid=10001"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or not _is_node() or subprocess.run(mount, check=False).returncode:
        pytest.skip("the cluster has no node on this machine where we may mount a file system")
    text = _SMALL_VOLUME.format(folder=folder, node=get("nodes")[0]["metadata"]["name"], runs=RUNS)
    try:
        kubectl("apply", "-f", "-", stdin=text)
        yield "small"
    finally:
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=text)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _is_node() -> bool:
    """Whether an address of the node is one of this machine's."""
    for each in get("nodes")[0]["status"]["addresses"]:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((each["address"], 0))
            return True
    return False


_SMALL_VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {{name: small}}
spec:
  capacity: {{storage: 8Mi}}
  accessModes: [ReadWriteOnce]
  storageClassName: small
  local: {{path: {folder}}}
  claimRef: {{namespace: {runs}, name: small}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{node}]}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: small, namespace: {runs}}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: small
  volumeName: small
  resources: {{requests: {{storage: 8Mi}}}}
"""
