"""Checks of what a run on the cluster needs. They ask; they change nothing, and read no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import urlsplit

from components.core.errors import InvalidParams, MissingInput, PipelineError, ServiceUnavailable
from components.io import params
from pipeline.doctor import tracking
from pipeline.doctor.finding import Check, CheckResult, at_least
from pipeline.doctor.local import SETTINGS
from pipeline.kubeflow import git_state as source
from pipeline.kubeflow import kubectl
from pipeline.kubeflow import resources as cluster

# Earlier backends have published security faults.
FLOOR = "2.18.1"

_SECONDS = 9


def checks(endpoint: str | None) -> dict[str, Check]:
    """Name -> check, in the order of the table.

    Args:
        endpoint: of Kubeflow Pipelines; None = as the environment says.
    """
    return {
        "pushed": pushed,
        "data pushed": data_pushed,
        "kubeflow": lambda: kubeflow(endpoint),
        "its mlflow": cluster_mlflow,
        "kubectl": context,
        "namespace": namespace,
        "secrets": secrets,
        "gpus": gpus,
    }


def pushed() -> CheckResult:
    """Whether the cluster can fetch this very commit."""
    revision, repository = source.head(), source.origin()
    source.require_pushed(repository, revision)
    return CheckResult("ok", f"{revision[:12]} is at {repository}")


def data_pushed() -> CheckResult:
    """Whether the images are where the cluster pulls them from."""
    url, data_hash = source.data_remote(), source.require_data()
    words = [sys.executable, "-m", "dvc", "status", "--cloud", "--json", str(source.POINTER)]
    try:
        done = subprocess.run(  # noqa: S603
            words,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        missing = [name for name, state in json.loads(done.stdout).items() if state != "deleted"]
    except subprocess.TimeoutExpired:
        then = f"ask yourself: dvc status --cloud {source.POINTER}"
        return CheckResult("skip", f"{url}: not known after {_SECONDS} s", then)
    except ValueError:
        said = (done.stderr.strip().splitlines() or ["no message"])[0]
        return CheckResult(
            "fail", f"{url}: {said}", "check its address and your keys", service=True
        )
    if missing:
        files = max(1, len(missing) - 1)  # the folder itself is listed with its files
        return CheckResult("fail", f"{url}: lacks {files:,} files of {data_hash[:12]}", "dvc push")
    return CheckResult("ok", f"{data_hash[:12]} is at {url}")


def kubeflow(endpoint: str | None) -> CheckResult:
    """Whether Kubeflow Pipelines answers, in a version without published faults."""
    try:
        from pipeline.kubeflow.client import Server
    except ImportError as error:
        return CheckResult("skip", str(error), "make install, or install the extra `kubeflow`")
    try:
        server = Server(endpoint)
    except InvalidParams as error:
        return CheckResult("fail", str(error))
    found = f"{server.endpoint}, version {server.version or 'unknown'}"
    if not at_least(server.version, FLOOR):
        return CheckResult("fail", f"{found}; {FLOOR} or later is needed", "upgrade the backend")
    if server.namespace != kubectl.NAMESPACE:
        then = f"what {kubectl.NAMESPACE} has must be there: account, secrets, policies"
        return CheckResult("warn", f"{found}, for one user: runs are in {server.namespace}", then)
    return CheckResult("ok", f"{found}, runs in {server.namespace}")


def cluster_mlflow() -> CheckResult:
    """Whether the MLflow server of section `cluster` answers, where that can be asked from here."""
    uri = _wanted().tracking_uri
    host = urlsplit(uri).hostname or ""
    if host.endswith((".svc", ".svc.cluster.local")):
        then = "kubectl -n image-classification port-forward service/mlflow 5000, then look"
        return CheckResult("skip", f"{uri}: a name that only the cluster knows", then)
    return tracking.judge(uri)


def context() -> CheckResult:
    """Which cluster kubectl would ask."""
    try:
        return CheckResult("ok", f"context {kubectl.context()}")
    except MissingInput as error:
        return CheckResult("warn", f"{error} Without it no logs of failed steps are shown.")


def namespace() -> CheckResult:
    """Whether the namespace and the account of runs are there."""
    missing = _missing([f"serviceaccount/{kubectl.ACCOUNT}"])
    if missing:
        then = "kubectl apply -k infra/kustomize/overlays/..."
        return CheckResult("fail", f"{kubectl.NAMESPACE}: lacks {', '.join(missing)}", then)
    return CheckResult("ok", f"{kubectl.NAMESPACE} with the account {kubectl.ACCOUNT}")


def secrets() -> CheckResult:
    """Whether the secrets that params.yaml names exist; their content is not asked for."""
    names = sorted(str(value) for name, value in _wanted() if name.endswith("_secret") and value)
    missing = _missing([f"secret/{name}" for name in names])
    if missing:
        then = "sh infra/scripts/make_secrets.sh FOLDER create"
        return CheckResult("fail", f"{kubectl.NAMESPACE}: lacks {', '.join(missing)}", then)
    return CheckResult("ok", f"{kubectl.NAMESPACE}: {', '.join(names)}")


def gpus() -> CheckResult:
    """Whether there are nodes with the label of GPUs, if a step wants one."""
    settings = _wanted()
    if not any(task.gpus for _, task in settings if isinstance(task, cluster.GpuTask)):
        return CheckResult("ok", "no step asks for a GPU")
    labels = ",".join(f"{name}={value}" for name, value in settings.gpu.node_selector.items())
    nodes = _ask("get", "nodes", "-o", "name", *(["-l", labels] if labels else []))
    if not nodes.split():
        then = "wait if nodes come on demand; else label them, or correct cluster.gpu.node_selector"
        return CheckResult("warn", f"no node with {labels}", then)
    return CheckResult("ok", f"{len(nodes.split())} nodes with {labels or 'any label'}")


def _wanted() -> cluster.ClusterParams:
    return params.load(SETTINGS, cluster.Params).cluster


def _missing(wanted: list[str]) -> list[str]:
    """Those that the namespace of runs lacks."""
    words = ("-n", kubectl.NAMESPACE, "get", *wanted, "--ignore-not-found", "-o", "name")
    found = set(_ask(*words).split())
    return [name for name in wanted if name not in found]


def _ask(*words: str) -> str:
    """What kubectl answers; a question that it may not ask is no fault of the cluster."""
    kubectl.context()
    try:
        return kubectl.ask(*words)
    except ServiceUnavailable:
        raise
    except PipelineError as error:
        raise MissingInput(f"cannot be asked: {error}") from error
