"""The pods of a probe: those of the compiled pipeline, with a question as their command.

Read from what `compile` writes, so they cannot differ from the pods of a run; whatever the
compiled pipeline says of a pod and is not known here is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.core.errors import PipelineError
from pipeline.kubeflow import kubectl

# Label of everything that a probe makes.
LABEL = "pipeline-probe"

# A pod ends by itself even if nobody is left to delete it.
_SECONDS = 600
_MOUNT = "/kfp-workspace"

# What Pod Security `restricted` demands, and Kubeflow adds to its pods.
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


class Pods:
    """Makes the pods of one probe.

    Attributes:
        name: of the probe; the names of what it makes begin with it.
        claim: manifest of the volume of the run; None = there is a standing one.
        workspace: folder of the run, as its pods see it.
        gives: securityContext that Argo adds to every pod.
    """

    def __init__(self, compiled: Path, name: str, gives: Mapping[str, Any]) -> None:
        pipeline, platform = yaml.safe_load_all(compiled.read_text(encoding="utf-8"))
        kubernetes = platform["platforms"]["kubernetes"]
        self.name, self.gives = name, gives
        self._containers = pipeline["deploymentSpec"]["executors"]
        self._executors = kubernetes["deploymentSpec"]["executors"]
        volume = kubernetes.get("pipelineConfig", {}).get("workspace")
        self.claim = volume and self._make_claim(volume)
        standing = self._executors["exec-fetch"].get("pvcMount")
        self.workspace = f"{standing[0]['mountPath']}/runs/{name}" if standing else _MOUNT

    def make(self, step: str, command: Sequence[str]) -> dict[str, Any]:
        """The manifest of the pod of a step.

        Raises:
            PipelineError: the compiled pipeline says something of pods that is not known here.
        """
        container = self._containers[f"exec-{step}"]["container"]
        executor = _Executor(self._executors[f"exec-{step}"])
        volumes, mounts = executor.volumes()
        if self.claim:
            claim = {"persistentVolumeClaim": {"claimName": self.name}}
            volumes.append({"name": "workspace", **claim})
            mounts.append({"name": "workspace", "mountPath": _MOUNT})
        main = {
            "name": "main",
            "image": container["image"],
            "command": list(command),
            "env": [*container["env"], *executor.environment()],
            "resources": _resources(container["resources"]),
            "securityContext": {**executor.security(), **_RESTRICTED},
            "volumeMounts": mounts,
        }
        spec = {
            "serviceAccountName": kubectl.ACCOUNT,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _SECONDS,
            "terminationGracePeriodSeconds": 1,
            "securityContext": dict(self.gives),
            **executor.place(),
            "containers": [main],
            "volumes": volumes,
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._metadata(f"{self.name}-{step}", executor.labels()),
            "spec": spec,
        }

    def _metadata(self, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
        return {
            "name": name,
            "namespace": kubectl.NAMESPACE,
            "labels": {**labels, LABEL: self.name},
        }

    def _make_claim(self, volume: Mapping[str, Any]) -> dict[str, Any]:
        spec = {
            **volume["kubernetes"]["pvcSpecPatch"],
            "resources": {"requests": {"storage": volume["size"]}},
        }
        metadata = self._metadata(self.name, {})
        kind = "PersistentVolumeClaim"
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


class _Executor:
    """What the compiled pipeline says of the pod of one step, as Kubernetes says it."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        # Its deadline is that of the step, not of a probe.
        self._left = {name: value for name, value in said.items() if name != _DEADLINE}
        if unknown := self._left.keys() - _KNOWN:
            raise PipelineError(
                f"pipeline/kubeflow/probe_pods.py: does not know {', '.join(sorted(unknown))} of "
                "the compiled pipeline; add it there, as Kubeflow's driver does."
            )

    def _all(self, name: str) -> list[dict[str, Any]]:
        return list(self._left.get(name, []))

    def labels(self) -> dict[str, str]:
        """Those by which the network policies know a pod of a run; the first is Kubeflow's."""
        found = self._left["podMetadata"]["labels"]
        return {"pipelines.kubeflow.org/v2_component": "true", **found}

    def environment(self) -> list[dict[str, Any]]:
        """Variables with keys of secrets."""
        return [
            {
                "name": key["envVar"],
                "valueFrom": {
                    "secretKeyRef": {"name": secret["secretName"], "key": key["secretKey"]}
                },
            }
            for secret in self._all("secretAsEnv")
            for key in secret["keyToEnv"]
        ]

    def volumes(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Volumes, and where they are mounted."""
        found = [
            (each["volumeName"], each["mountPath"], {"emptyDir": _empty_folder(each)})
            for each in self._all("emptyDirMounts")
        ]
        for each in self._all("secretAsVolume"):
            name = each["secretName"]
            found.append((name, each["mountPath"], {"secret": {"secretName": name}}))
        for each in self._all("pvcMount"):
            name = each["constant"]
            source = {"persistentVolumeClaim": {"claimName": name}}
            found.append((name, each["mountPath"], source))
        volumes = [{"name": name, **source} for name, _, source in found]
        return volumes, [{"name": name, "mountPath": path} for name, path, _ in found]

    def security(self) -> dict[str, Any]:
        """User and group, which are numbers in Kubernetes."""
        said = self._left["securityContext"]
        return {
            name: int(value) if isinstance(value, str) else value for name, value in said.items()
        }

    def place(self) -> dict[str, Any]:
        """Which nodes it may run on."""
        found: dict[str, Any] = {}
        if "nodeSelector" in self._left:
            found["nodeSelector"] = self._left["nodeSelector"]["labels"]
        if "tolerations" in self._left:
            found["tolerations"] = self._left["tolerations"]
        return found


_DEADLINE = "activeDeadlineSeconds"
_KNOWN = {
    "emptyDirMounts",
    "nodeSelector",
    "podMetadata",
    "pvcMount",
    "secretAsEnv",
    "secretAsVolume",
    "securityContext",
    "tolerations",
}


def _empty_folder(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in ("medium", "sizeLimit") if name in said}


def _resources(said: Mapping[str, Any]) -> dict[str, Any]:
    limits = {"cpu": said["resourceCpuLimit"], "memory": said["resourceMemoryLimit"]}
    if gpus := said.get("accelerator"):
        limits[gpus["resourceType"]] = gpus["resourceCount"]
    requests = {"cpu": said["resourceCpuRequest"], "memory": said["resourceMemoryRequest"]}
    return {"requests": requests, "limits": limits}
