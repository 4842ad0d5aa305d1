"""What a run that succeeded has decided, and where its model is in MLflow."""

from __future__ import annotations

import re
from typing import get_args
from urllib.parse import urlsplit

from components.core.errors import PipelineError
from components.core.gate.policy import Verdict
from pipeline.kubeflow import kubectl
from pipeline.kubeflow.monitor import PipelineRun

# What register prints of its decision, and of the version that it made or found.
_HEADLINE = re.compile(rf"(?<![^ ])({'|'.join(get_args(Verdict))}) .*")
_VERSION = re.compile(r"registered: (\S+) version (\d+),")

# What fetch prints in a run that did nothing else.
_UNCHANGED = re.compile(r".* unchanged since its last verdict; nothing to do$")


def read(namespace: str, run: PipelineRun) -> tuple[str, str]:
    """Headline, and a line with the model's address; empty where no version was registered.

    From the steps' logs, because KFP's API does not pass on what tasks return.

    Args:
        namespace: of the run's pods.
        run: one that has succeeded.
    """
    log = _log(namespace, run.run_id, "register")
    headlines = [match[0] for match in map(_HEADLINE.search, log) if match]
    found = [match for match in map(_VERSION.search, log) if match]
    if headlines:
        return headlines[-1], _address(run.tracking_uri, *found[-1].groups()) if found else ""
    unchanged = [line for line in _log(namespace, run.run_id, "fetch") if _UNCHANGED.match(line)]
    if unchanged:
        return unchanged[-1], ""
    return "its verdict: `python -m pipeline status`, or register's page", ""


def _log(namespace: str, run_id: str, step: str) -> list[str]:
    words = ("-n", namespace, "logs", "-l", kubectl.label(run_id, step), "-c", "main")
    try:
        return kubectl.run(*words, "--tail=200").splitlines()
    except PipelineError:
        return []


def _address(uri: str, name: str, version: str) -> str:
    """The model's page, from here: a cluster's own names need a port-forward."""
    if not uri:
        return ""
    page = f"#/models/{name}/versions/{version}"
    place = urlsplit(uri)
    service, namespace, *rest = [*(place.hostname or "").split("."), ""]
    if rest[:1] != ["svc"]:
        return f"model: {uri.rstrip('/')}/{page}"
    port = place.port or (443 if place.scheme == "https" else 80)
    here = 5000 if port < 1024 else port
    ports = str(port) if here == port else f"{here}:{port}"
    return (
        f"model: {place.scheme}://127.0.0.1:{here}/{page} while "
        f"`kubectl -n {namespace} port-forward service/{service} {ports}` runs"
    )
