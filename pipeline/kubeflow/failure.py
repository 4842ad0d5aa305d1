"""Why a step of a run failed: its own last lines, how its pod ended, whether it was tried again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from components.core.errors import PipelineError
from pipeline.kubeflow import kubectl

_READ, _SHOWN = 500, 30

# Lines of Kubeflow's launcher, of Argo's executor and of the SDK between those of the step.
_FOREIGN = re.compile(
    r"[IWEF]\d{4} [\d:.]+ +\d+ \S+\.go:\d+\]|time=\S+ level=\w+ msg=|\[KFP Executor "
    r"|Error: (exit status|signal: )"
)
# Behind it the SDK prints one structure, and then the step begins.
_INPUT = "Got executor_input:"

# The container ends with a code of the launcher, which writes down that of the step.
_END = re.compile(r"failed to execute component: (exit status \d+|signal: [\w ]+)")

_REFUSED = f"exit status {PipelineError.exit_code}"

# What a pod is ended for, and the setting of the step that is its limit.
_LIMITS = {"OOMKilled": "memory_gib", "DeadlineExceeded": "minutes"}


class Failure(NamedTuple):
    """What is known of a failed step.

    Attributes:
        command: of kubectl, without its name; it shows the whole log.
        lines: the last ones of the step itself, and what became of its pod.
        reason: its error, in one line; empty = not known.
    """

    command: str
    lines: list[str]
    reason: str


def read(namespace: str, run_id: str, step: str, retries: int) -> Failure:
    """Ask kubectl; what it cannot tell is said in the lines.

    Args:
        namespace: of the pods.
        run_id: the run.
        step: label `pipeline-step`.
        retries: how often a step of the run may be tried again.
    """
    label = kubectl.label(run_id, step)
    words = ["-n", namespace, "logs", "-l", label, "-c", "main", f"--tail={_READ}"]
    try:
        found = kubectl.run("-n", namespace, "get", "pods", "-l", label, "-o", "json")
        pods = _attempts(json.loads(found)["items"])
        if not pods:
            return Failure(" ".join(words), ["(nothing: another context, or the pod is gone)"], "")
        words[3:5] = [pods[-1]["metadata"]["name"]]
        return explain(" ".join(words), step, kubectl.run(*words), pods, retries)
    except PipelineError as error:
        return Failure(" ".join(words), [str(error)], "")


def explain(
    command: str, step: str, log: str, pods: Sequence[Mapping[str, Any]], retries: int
) -> Failure:
    """What log and pods of a failed step say.

    Args:
        command: as in `Failure`.
        step: its name.
        log: of the last pod.
        pods: of all its attempts, the last one last, as the Kubernetes API lists them.
        retries: how often it may be tried again.
    """
    lines = own_lines(log)
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    how, cause = _ending(log, pods[-1].get("status", {}))
    end = f"{step}: {how or 'ended'}{f' ({cause})' if cause else ''}, " + _retried(
        how, len(pods), retries
    )
    if cause in _LIMITS:
        end += f"; its limit is cluster.{step}.{_LIMITS[cause]}"
    return Failure(command, [*lines[-_SHOWN:], end], errors[-1] if errors else cause)


def own_lines(log: str) -> list[str]:
    """The lines that a step printed itself."""
    lines = log.splitlines()
    marks = [index for index, line in enumerate(lines) if line.endswith(_INPUT)]
    if marks and "}" in lines[marks[-1] :]:
        lines = lines[lines.index("}", marks[-1]) + 1 :]
    return [line for line in lines if not _FOREIGN.match(line)]


def _attempts(pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The failed pods of the task that failed last: workers of a step share its label."""
    failed = [pod for pod in pods if pod.get("status", {}).get("phase") == "Failed"]
    failed.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    return [pod for pod in failed if _node(pod) == _node(failed[-1])]


def _node(pod: Mapping[str, Any]) -> str:
    """Argo's name of the task: `....train.executor` of its attempt `....train.executor(1)`."""
    name = str(pod["metadata"].get("annotations", {}).get("workflows.argoproj.io/node-name", ""))
    return re.sub(r"\(\d+\)$", "", name)


def _ending(log: str, status: Mapping[str, Any]) -> tuple[str, str]:
    """How the step ended, and Kubernetes' reason where it ended it."""
    containers = status.get("containerStatuses", [])
    ends = [
        each.get("state", {}).get("terminated") for each in containers if each["name"] == "main"
    ]
    end = ends[0] if ends and ends[0] else {}
    said = _END.findall(log)
    how = f"exit status {end['exitCode']}" if "exitCode" in end else ""
    cause = status.get("reason") or end.get("reason", "")
    return (said[-1] if said else how), ("" if cause in ("Error", "Completed") else cause)


def _retried(how: str, attempts: int, retries: int) -> str:
    count = f"attempt {attempts} of {retries + 1}"
    if how == _REFUSED:
        return f"{count}; a refusal is not retried"
    if attempts > retries:
        return count
    return (
        f"{count}; not retried: Argo's retryPolicy OnError does not retry a dead container: "
        "`sh infra/scripts/argo_defaults.sh`"
    )
