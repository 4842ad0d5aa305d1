"""What a cluster says, by way of the user's own kubectl and its current context."""

from __future__ import annotations

import shutil
import subprocess

from components.core.errors import MissingInput, PipelineError, ServiceUnavailable

# Where runs are, and as whom: infra/kustomize/base/runs.
NAMESPACE = "image-classification-runs"
ACCOUNT = "pipeline-run"

_SECONDS = 8

# What kubectl says when nobody is there, against what it says when somebody refuses.
_SILENCE = ("refused", "timeout", "timed out", "no such host", "Unable to connect", "deadline")


def context() -> str:
    """The name of the current context.

    Raises:
        MissingInput: there is none, or no kubectl: then nothing can be asked.
    """
    try:
        return ask("config", "current-context").strip()
    except MissingInput:
        raise
    except PipelineError as error:
        # Without one kubectl asks a port of this machine, and blames that.
        raise MissingInput("kubectl: has no context; `kubectl config use-context NAME`.") from error


def ask(*words: str) -> str:
    """What `kubectl <words>` prints.

    Raises:
        MissingInput: there is no kubectl.
        ServiceUnavailable: the cluster does not answer.
        PipelineError: it refuses.
    """
    if not shutil.which("kubectl"):
        raise MissingInput("kubectl: is not on PATH; install it to ask the cluster.")
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
            f"{what}: no answer in {_SECONDS} s; `kubectl cluster-info` says whom it asks."
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        silent = any(word in said for word in _SILENCE)
        kind = ServiceUnavailable if silent else PipelineError
        raise kind(f"{what}: {said}; `kubectl config current-context` says whom it asks.")
    return done.stdout


def log_words(namespace: str, run_id: str, step: str, lines: int) -> list[str]:
    """The words that show the last lines of a step's log.

    By labels, because KFP's API does not tell the pods of a step: `pipeline/runid` is KFP's,
    `pipeline-step` is ours.
    """
    labels = f"pipeline/runid={run_id},pipeline-step={step}"
    return ["-n", namespace, "logs", "-l", labels, "-c", "main", f"--tail={lines}"]
