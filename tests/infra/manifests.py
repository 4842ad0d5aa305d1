"""Build the overlays with kubectl's own kustomize, and walk over what came out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

KUSTOMIZE = Path(__file__).parents[2] / "infra" / "kustomize"
OVERLAYS = ("overlays/local", "overlays/production")
ALL = (*OVERLAYS, "gpu-check", "workspace")
SERVICES, RUNS = "image-classification", "image-classification-runs"


@cache
def _build(folder: str) -> str:
    kubectl = Path(sys.executable).parent / "kubectl"
    command = [str(kubectl), "kustomize", str(KUSTOMIZE / folder)]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return json.dumps([each for each in yaml.load_all(text, yaml.CSafeLoader) if each])


def build(folder: str) -> list[Object]:
    """The objects of an overlay; the caller may change them."""
    objects: list[Object] = json.loads(_build(folder))
    return objects


def name_of(thing: Object) -> str:
    return f"{thing['kind']}/{thing['metadata']['name']}"


def namespace_of(thing: Object) -> str:
    return str(thing["metadata"].get("namespace", ""))


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [thing for thing in objects if thing["kind"] in kinds]


def find(objects: list[Object], name: str, namespace: str = "") -> Object:
    """The object `Kind/name`; a generated name may go without its hash."""
    there = [thing for thing in objects if namespace in ("", namespace_of(thing))]
    found = [thing for thing in there if name_of(thing) == name]
    found = found or [thing for thing in there if name_of(thing).rpartition("-")[0] == name]
    assert len(found) == 1, f"{name}: {[name_of(thing) for thing in found]}"
    return found[0]


@dataclass(frozen=True)
class Pod:
    """The pods that a workload makes."""

    owner: Object
    template: Object

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return namespace_of(self.owner)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"].get("labels", {}))

    @property
    def spec(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def volumes(self) -> list[Object]:
        return list(self.spec.get("volumes", []))

    def port_numbers(self) -> set[int]:
        every = self.spec["containers"]
        return {port["containerPort"] for each in every for port in each.get("ports", [])}


def pods(objects: list[Object]) -> Iterator[Pod]:
    for thing in objects:
        if thing["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield Pod(thing, thing["spec"]["template"])
        elif thing["kind"] == "CronJob":
            yield Pod(thing, thing["spec"]["jobTemplate"]["spec"]["template"])


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector (matchLabels only) takes these labels; {} takes all."""
    if selector is None:
        return False
    assert set(selector) <= {"matchLabels"}, "the evaluator knows matchLabels only"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
