"""Reads from a cluster through the user's own kubectl and its current context."""

from __future__ import annotations

import shutil
import subprocess

from components.core.errors import MissingInput, PipelineError, ServiceUnavailable

# Where runs are, and as whom: infra/kustomize/base/runs.
NAMESPACE = "image-classification-runs"
ACCOUNT = "pipeline-run"

_SECONDS = 8

# What kubectl prints when nothing answers, as opposed to a refusal.
_NO_ANSWER = ("refused", "timeout", "timed out", "no such host", "Unable to connect", "deadline")


def context() -> str:
    """The name of the current context.

    Raises:
        MissingInput: there is none, or no kubectl.
    """
    try:
        return run("config", "current-context").strip()
    except MissingInput:
        raise
    except PipelineError as error:
        # Without one kubectl tries a port of this machine, and reports that.
        raise MissingInput("kubectl: has no context; `kubectl config use-context NAME`.") from error


def run(*words: str) -> str:
    """What `kubectl <words>` prints.

    Raises:
        MissingInput: there is no kubectl.
        ServiceUnavailable: the cluster does not answer.
        PipelineError: it refuses.
    """
    if not shutil.which("kubectl"):
        raise MissingInput("kubectl: is not on PATH; install it to reach the cluster.")
    what = f"kubectl {' '.join(words)}"
    try:
        done = subprocess.run(  # noqa: S603
            ["kubectl", "--request-timeout=5s", *words],  # noqa: S607 - the user's own
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceUnavailable(
            f"{what}: no answer in {_SECONDS} s; `kubectl cluster-info` shows the server."
        ) from error
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if "must be logged in" in message:
            raise PipelineError(
                f"{what}: {message}; your login to the cluster has expired: sign in again, or "
                "`kubectl config use-context NAME`."
            )
        no_answer = any(word in message for word in _NO_ANSWER)
        kind = ServiceUnavailable if no_answer else PipelineError
        raise kind(f"{what}: {message}; `kubectl config current-context` shows the cluster.")
    return done.stdout


def find_namespace(run_id: str, default: str) -> str:
    """Where the pods of a run are; `default` if they are gone, or not for this user to see."""
    column = "jsonpath={.items[*].metadata.namespace}"
    label = f"pipeline/runid={run_id}"
    try:
        found = run("get", "pods", "--all-namespaces", "-l", label, "-o", column)
    except PipelineError:
        return default
    return (found.split() or [default])[0]


def label(run_id: str, step: str) -> str:
    """Selects the pods of a step.

    KFP's API does not name them: `pipeline/runid` is KFP's, `pipeline-step` is ours.
    """
    return f"pipeline/runid={run_id},pipeline-step={step}"
