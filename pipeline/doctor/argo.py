"""What Argo's map adds to the pods of a run: infra/argo-defaults.yaml says what it should."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from components.core.errors import MissingInput

_MAP = "workflow-controller-configmap"
_NAMESPACE = "kubeflow"

# Argo's retryPolicy -> what is wrong with it; Argo's own default is OnFailure.
_FAULTS = {
    "OnError": "no container that was killed (out of memory) or whose service did not answer",
    "OnFailure": "no pod that was lost with its node",
    "OnTransientError": "no container that was killed, and no pod that was lost with its node",
    "Always": "whole runs and steps that refused, too: retryPolicy Always without an expression",
}


def read_defaults(kubectl: Callable[..., str]) -> dict[str, Any]:
    """`templateDefaults` of Argo's map; empty = none.

    Args:
        kubectl: asks the cluster; raises MissingInput for what the user may not see.

    Raises:
        MissingInput: there is no such map, or it is not for this user to see.
    """
    words = ("get", "configmap", "-o", "json")
    text = kubectl("-n", _NAMESPACE, *words, _MAP, "--ignore-not-found")
    if not text.strip():
        text = kubectl(*words, "--all-namespaces", "--field-selector", f"metadata.name={_MAP}")
    found = json.loads(text)
    maps = found.get("items", [found])
    if not maps:
        raise MissingInput(f"{_MAP}: is in no namespace; is Argo installed another way?")
    defaults: Any = yaml.safe_load(maps[0].get("data", {}).get("workflowDefaults", ""))
    for key in ("spec", "templateDefaults"):
        defaults = (defaults or {}).get(key)
    return dict(defaults or {})


def gives_group(defaults: Mapping[str, Any], user: int) -> bool:
    """Whether pods get a volume that the group of `user` may write to."""
    return bool((defaults.get("securityContext") or {}).get("fsGroup") == user)


def retry_fault(defaults: Mapping[str, Any]) -> str:
    """What Argo retries wrongly when `cluster.retries` is set; empty = nothing."""
    strategy = defaults.get("retryStrategy") or {}
    policy = strategy.get("retryPolicy") or "OnFailure"
    return "" if policy == "Always" and strategy.get("expression") else _FAULTS.get(policy, "")
