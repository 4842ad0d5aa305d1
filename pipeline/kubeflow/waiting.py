"""Why pods of a run wait, in Kubernetes' own words."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from components.core.errors import MissingInput, PipelineError, ServiceUnavailable
from pipeline.kubeflow import kubectl

# When a reason is said again, and when a cluster that could not be asked is asked again.
REPEAT_SECONDS = 300.0
_RETRY_SECONDS = 60.0

_LONGEST = 400

# A container waits for these in every pod: they are no reason.
_STARTING = ("ContainerCreating", "PodInitializing")
_PULL = ("ErrImagePull", "ImagePullBackOff")
# Kubernetes counts some of what keeps a volume from being made among the normal events.
_UNBOUND = ("ProvisioningFailed", "FailedBinding", "ExternalProvisioning")


class Waiting(NamedTuple):
    """What a step waits for.

    Attributes:
        step: label `pipeline-step` of its pod; the task's name where Kubeflow's own pods wait.
        reason: a word of Kubernetes: Unschedulable, ErrImagePull, FailedMount, ...
        message: its message, in one line.
    """

    step: str
    reason: str
    message: str


def reasons(
    pods: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> list[Waiting]:
    """What pods that cannot be scheduled or started wait for, each reason once.

    Args:
        pods: as the Kubernetes API lists them.
        events: of their namespace, those of other pods and of claims included.
    """
    found = ((pod, _reason(pod, events)) for pod in pods)
    each = (Waiting(_step(pod), reason, _line(text)) for pod, (reason, text) in found if reason)
    return list(dict.fromkeys(each))


def refused(workflows: Sequence[Mapping[str, Any]]) -> list[Waiting]:
    """What Argo waits for before it can make a pod: a quota, which Kubernetes says to nobody else.

    Args:
        workflows: as the Kubernetes API lists them.
    """
    nodes = (
        node for each in workflows for node in each.get("status", {}).get("nodes", {}).values()
    )
    return [
        Waiting(_task(node.get("name", "")), "Forbidden", _line(node["message"]))
        for node in nodes
        if node.get("phase") == "Pending" and " is forbidden: " in node.get("message", "")
    ]


def look(namespace: str, run_id: str) -> list[Waiting]:
    """What the steps of a run wait for now.

    Raises:
        PipelineError: the user may not look, or has no kubectl.
        ServiceUnavailable: the cluster does not answer.
    """
    label = ("-l", f"pipeline/runid={run_id}")
    try:
        items = _items(namespace, "pods,workflows.argoproj.io", *label)
    except ServiceUnavailable:
        raise
    except PipelineError:  # perhaps only the workflows are not for this user to see
        items = _items(namespace, "pods", *label)
    pods = [item for item in items if item.get("kind") == "Pod"]
    events = _items(namespace, "events") if any(map(_is_pending, pods)) else []
    return reasons(pods, events) + refused([item for item in items if item not in pods])


@dataclass
class WaitingMonitor:
    """Says what the steps of a run wait for: each reason once, and again every five minutes.

    Attributes:
        run_id: the run.
        namespace: finds the namespace of its pods.
        clock: seconds.
    """

    run_id: str
    namespace: Callable[[], str]
    clock: Callable[[], float] = time.monotonic
    _said: dict[tuple[str, ...], float] = field(default_factory=dict)
    _not_before: float = float("-inf")

    def changes(self) -> Iterator[str]:
        """A line for each reason that is new; one, once, where the cluster cannot be asked."""
        if self.clock() < self._not_before:
            return
        try:
            found = look(self.namespace(), self.run_id)
        except PipelineError as error:
            self._not_before = self.clock() + _RETRY_SECONDS
            if self._is_new("no answer", within=float("inf")):
                yield f"submit: why steps wait is not shown: {_why(error)}"
            return
        for each in found:
            # Numbers of nodes and names of pods change while the reason stays.
            if self._is_new(each.step, each.reason, re.sub(r"\w*\d\w*", "", each.message)):
                yield f"{'':>8}  {each.step:<15}waits: {each.reason}: {each.message}"

    def _is_new(self, *key: str, within: float = REPEAT_SECONDS) -> bool:
        now = self.clock()
        if now - self._said.get(key, float("-inf")) < within:
            return False
        self._said[key] = now
        return True


def _why(error: PipelineError) -> str:
    """The reason why kubectl cannot look: without a context it names a port of this machine."""
    try:
        kubectl.context()
    except MissingInput as missing:
        return str(missing)
    return str(error)


def _items(namespace: str, kinds: str, *words: str) -> list[dict[str, Any]]:
    found = json.loads(kubectl.run("-n", namespace, "get", kinds, *words, "-o", "json"))
    items: list[dict[str, Any]] = found["items"]
    return items


def _is_pending(pod: Mapping[str, Any]) -> bool:
    return bool(pod.get("status", {}).get("phase", "Pending") == "Pending")


def _reason(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Reason and message; empty where the pod does not wait, or only for its turn."""
    status = pod.get("status", {})
    if not _is_pending(pod):
        return "", ""
    for condition in status.get("conditions", []):
        if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
            message = condition.get("message", "") + _of_claims(pod, condition, events)
            return condition.get("reason", "Unschedulable"), message
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    states = [each.get("state", {}).get("waiting") for each in containers]
    for state in filter(None, states):
        if state.get("reason", _STARTING[0]) not in _STARTING:
            return _of_container(pod, state["reason"], state.get("message", ""), events)
    warnings = [event for event in _about(pod, events) if event["reason"] != "FailedScheduling"]
    last = warnings[-1] if warnings and any(states) else {}
    return last.get("reason", ""), last.get("message", "")


def _of_container(
    pod: Mapping[str, Any], reason: str, message: str, events: Sequence[Mapping[str, Any]]
) -> tuple[str, str]:
    """The kubelet alternates between the error of a pull and the pause behind it."""
    if reason not in _PULL:
        return reason, message
    _, _, cause = message.rpartition(f"{_PULL[0]}: ")
    pulls = [each["message"] for each in _about(pod, events) if "pull image" in each["message"]]
    if message.startswith("Back-off") and cause == message and pulls:
        cause = pulls[-1]
    return _PULL[0], cause


def _of_claims(
    pod: Mapping[str, Any], condition: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
) -> str:
    """What keeps the claims of a pod unbound, where that is what it waits for."""
    if "persistentvolumeclaim" not in condition.get("message", "").lower():
        return ""
    volumes = pod.get("spec", {}).get("volumes", [])
    names = {each.get("persistentVolumeClaim", {}).get("claimName") for each in volumes}
    found = {
        name: f"; {name}: {event['message']}"
        for event in events
        if (name := event["involvedObject"].get("name")) in names and event["reason"] in _UNBOUND
    }
    return "".join(found.values())


def _about(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Warnings about a pod, the newest last."""
    uid = pod["metadata"]["uid"]
    found = [e for e in events if e["involvedObject"].get("uid") == uid and e["type"] == "Warning"]
    return sorted(found, key=_time)


def _time(event: Mapping[str, Any]) -> str:
    created = event["metadata"].get("creationTimestamp")
    return str(event.get("lastTimestamp") or event.get("eventTime") or created or "")


def _step(pod: Mapping[str, Any]) -> str:
    metadata = pod["metadata"]
    node = metadata.get("annotations", {}).get("workflows.argoproj.io/node-name", "")
    name = metadata.get("labels", {}).get("pipeline-step") or _task(node)
    return str(name or metadata["name"])


def _task(node: str) -> str:
    """`train` of Argo's `image-classification-x7x9l.root.train.executor(0)`."""
    words = [word.partition("(")[0] for word in node.split(".")]
    return next((word for word in reversed(words) if word != "executor"), "")


def _line(message: str) -> str:
    return " ".join(message.split())[:_LONGEST]
