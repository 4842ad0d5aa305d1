"""Kubeflow's API, as its pages ask it."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

MODEL = "solar-cells"


def ask(method: str, path: str) -> dict[str, Any]:
    """What it answers; empty where it has nothing to say."""
    url = f"{os.environ['KF_PIPELINES_ENDPOINT'].rstrip('/')}/apis/v2beta1/{path}"
    request = urllib.request.Request(url, method=method, data=b"{}" if method == "POST" else None)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read() or b"{}")
    return found


def forget_model() -> None:
    """Delete all that it has of the model: runs, recurring runs, pipeline, experiment."""
    for kind, key in (("runs", "run_id"), ("recurringruns", "recurring_run_id")):
        for each in _of_model(kind):
            ask("DELETE", f"{kind}/{each[key]}")
    for each in _of_model("pipelines"):
        place = f"pipelines/{each['pipeline_id']}"
        for version in _listed(f"{place}/versions"):
            ask("DELETE", f"{place}/versions/{version['pipeline_version_id']}")
        ask("DELETE", place)
    for each in _of_model("experiments"):
        ask("DELETE", f"experiments/{each['experiment_id']}")


def _of_model(kind: str) -> Iterator[dict[str, Any]]:
    return (each for each in _listed(kind) if each["display_name"].startswith(MODEL))


def _listed(path: str) -> list[dict[str, Any]]:
    """The one list of the answer."""
    lists = [value for value in ask("GET", f"{path}?page_size=100").values() if value]
    return next((each for each in lists if isinstance(each, list)), [])
