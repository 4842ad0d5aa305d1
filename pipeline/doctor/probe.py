"""`doctor --probe`: what a run needs, asked from inside the cluster by pods like its own.

One pod after the other, so that a volume of one node and a single GPU are enough. Everything is
deleted afterwards, whatever happened.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.core.errors import MissingInput, PipelineError, ServiceUnavailable
from components.io import params
from pipeline import SETTINGS
from pipeline.doctor import argo
from pipeline.doctor.check import CheckResult
from pipeline.kubeflow import git_state, kubectl, waiting
from pipeline.kubeflow.probe_inside import Question
from pipeline.kubeflow.probe_pods import LABEL, Pods
from pipeline.kubeflow.resources import ClusterParams, GpuTask, Params

# Between them they have every secret, the volume and the GPUs.
STEPS = ("fetch", "tune", "train", "register")

PAUSE_SECONDS = 2.0

# For an image to be pulled; for a pod that says why it waits; for what is deleted to be gone.
_PATIENCE_SECONDS = 900.0
_WAITING_SECONDS = 120.0
_GONE_SECONDS = 60.0
# Longer than any probe lasts: what is older belongs to one that was killed.
_ABANDONED = timedelta(hours=2)

_IN_RUNS = ("-n", kubectl.NAMESPACE)
_FINAL = ("Succeeded", "Failed")

Row = tuple[str, CheckResult]


def probe(image: str, repository: str | None) -> Iterator[Row]:
    """Ask every question; yields name and result as soon as it is known.

    Args:
        image: of the run, pinned by its digest.
        repository: where the cluster fetches from; None = the git remote `origin`.
    """
    name = f"probe-{secrets.token_hex(4)}"
    try:
        kubectl.context()
        cluster = params.load(SETTINGS, Params).cluster
        source = git_state.read(repository)
        pods = _compile(image, cluster, name)
    except PipelineError as error:
        yield "probe", _failure(error)
        return
    try:
        if pods.claim:
            _delete_abandoned()
            _create(pods.claim)
        for step in STEPS:
            question = _question(step, source, cluster, pods.workspace)
            yield from _ask(step, pods, question)
    except PipelineError as error:
        yield "probe", _failure(error)
    finally:
        _delete("pods,persistentvolumeclaims", "-l", f"{LABEL}={name}")
    yield "gone", _gone(name)


def _compile(image: str, cluster: ClusterParams, name: str) -> Pods:
    from pipeline.kubeflow.compiler import compile_to

    try:
        gives = argo.read_defaults(kubectl.run).get("securityContext") or {}
    except PipelineError:  # not for this user to see; the row `volume` says so
        gives = {}
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        compile_to(compiled, Path.cwd(), image, cluster)
        return Pods(compiled, name, gives)


def _question(
    step: str, source: git_state.Source, cluster: ClusterParams, workspace: str
) -> Question:
    task = cluster.task(step)
    urls = (source.repository, cluster.tracking_uri, cluster.storage_endpoint or "")
    hosts = tuple(dict.fromkeys(host for url in urls if (host := urlsplit(url).hostname)))
    gpus, shared = (task.gpus, task.shared_memory_gib) if isinstance(task, GpuTask) else (0, 0.0)
    return Question(workspace, *source, hosts, gpus, shared)


def _ask(step: str, pods: Pods, question: Question) -> Iterator[Row]:
    """Run the pod of a step; yields what it found."""
    module = "pipeline.kubeflow.probe_inside"
    command = ["python", "-m", module, step, json.dumps(asdict(question))]
    manifest = pods.make(step, command)
    pod = manifest["metadata"]["name"]
    _create(manifest)
    try:
        ended = _wait(step, pod)
        if step == STEPS[0]:
            yield "image", CheckResult("pass", manifest["spec"]["containers"][0]["image"])
        yield from _answers(step, ended)
    except TimeoutError as error:
        if "ErrImagePull" in str(error):  # as for all that follow
            raise PipelineError(f"the image cannot be pulled: {error}") from error
        hint = "kubectl describe shows more; put that right, then probe again"
        yield f"{step} pod", CheckResult("fail", str(error), hint)
    finally:
        # The next one may need its GPU.
        _delete("pod", pod)


def _answers(step: str, pod: Mapping[str, Any]) -> Iterator[Row]:
    lines = kubectl.run(*_IN_RUNS, "logs", pod["metadata"]["name"], "-c", "main").splitlines()
    for each in (json.loads(line) for line in lines if line.startswith("{")):
        status, found, service = each["status"], each["found"], each["service"]
        yield f"{step} {each['check']}", CheckResult(status, found, service=service)
    if pod["status"]["phase"] == "Failed":
        yield f"{step} pod", _crash(pod, lines[-1] if lines else "it printed nothing")


def _wait(step: str, name: str) -> Mapping[str, Any]:
    """The pod, once it has ended; says on stderr what it waits for.

    Raises:
        TimeoutError: it does not start.
    """
    started, since, said = time.monotonic(), 0.0, ""
    while True:
        pod: dict[str, Any] = json.loads(kubectl.run(*_IN_RUNS, "get", "pod", name, "-o", "json"))
        if pod.get("status", {}).get("phase") in _FINAL:
            return pod
        found = kubectl.run(*_IN_RUNS, "get", "events", "-o", "json")
        reasons = waiting.reasons([pod], json.loads(found)["items"])
        text = "; ".join(f"{each.reason}: {each.message}" for each in reasons)
        now = time.monotonic()
        if bool(text) is not bool(said):
            since = now
        if text not in ("", said):
            print(f"probe: the pod of {step} waits: {text}", file=sys.stderr, flush=True)
        said = text
        if text and now - since >= _WAITING_SECONDS:
            raise TimeoutError(text)
        if now - started >= _PATIENCE_SECONDS:
            raise TimeoutError(f"not done after {_PATIENCE_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)


def _crash(pod: Mapping[str, Any], last: str) -> CheckResult:
    """A pod that did not come to the end of its questions."""
    status = pod["status"]
    states = [each["state"].get("terminated", {}) for each in status.get("containerStatuses", [])]
    code = next((f"exit code {state['exitCode']}" for state in states if state), "no exit code")
    reason = status.get("reason") or next((state.get("reason", "") for state in states), "")
    hint = "build the image from this commit" if "No module named" in last else ""
    return CheckResult("fail", f"{reason or 'Failed'}, {code}: {last}", hint)


def _create(manifest: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifest.json"
        file.write_text(json.dumps(manifest), encoding="utf-8")
        kubectl.run("create", "--validate=false", "-f", str(file), "-o", "name")


def _delete(*what: str) -> None:
    """Never raises: it may follow an interruption, which must stay the reason."""
    try:
        kubectl.run(*_IN_RUNS, "delete", *what, "--ignore-not-found", "--wait=false")
    except PipelineError as error:
        print(f"probe: not deleted: {error}", file=sys.stderr)


def _delete_abandoned() -> None:
    """Delete what a killed probe has left: its pods end by themselves, its claim does not."""
    found = kubectl.run(*_IN_RUNS, "get", "persistentvolumeclaims", "-l", LABEL, "-o", "json")
    for claim in (each["metadata"] for each in json.loads(found)["items"]):
        age = datetime.now(UTC) - datetime.fromisoformat(claim["creationTimestamp"])
        if age > _ABANDONED:
            _delete("pods,persistentvolumeclaims", "-l", f"{LABEL}={claim['labels'][LABEL]}")


def _gone(name: str) -> CheckResult:
    """Whether nothing of the probe is left."""
    words = ("get", "pods,persistentvolumeclaims", "-l", f"{LABEL}={name}", "-o", "name")
    end = time.monotonic() + _GONE_SECONDS
    try:
        while left := kubectl.run(*_IN_RUNS, *words).split():
            if time.monotonic() >= end:
                hint = f"kubectl -n {kubectl.NAMESPACE} delete pods,pvc -l {LABEL}={name}"
                return CheckResult("warn", f"still there: {', '.join(left)}", hint)
            time.sleep(PAUSE_SECONDS)
    except PipelineError as error:
        return _failure(error)
    return CheckResult("pass", "nothing of the probe is left")


def _failure(error: PipelineError) -> CheckResult:
    if isinstance(error, MissingInput):
        return CheckResult("skipped", str(error))
    return CheckResult("fail", str(error), service=isinstance(error, ServiceUnavailable))
