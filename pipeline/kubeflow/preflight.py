"""What must be right on the cluster before a run is started, as far as kubectl can see it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from components.core.errors import MissingInput, PipelineError
from pipeline.kubeflow import kubectl
from pipeline.kubeflow.resources import ClusterParams

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Server

_RUNS = 3


def require(server: Server, cluster: ClusterParams, unseen: bool) -> None:
    """Refuse a run that could not start; what the user may not look at is taken as it is.

    Args:
        server: of Kubeflow Pipelines.
        cluster: settings of the run.
        unseen: only a warning where kubectl cannot look at all.

    Raises:
        PipelineError: kubectl cannot look, its context is another cluster than Kubeflow's, or the
            namespace of runs lacks the account or the claim.
        ServiceUnavailable: the cluster of kubectl's context does not answer.
    """
    try:
        context = kubectl.context()
        namespace = find_namespace(server)
        runs = _find_runs(namespace) if namespace else []
        missing = _find_missing(namespace, cluster.workspace_claim) if namespace else []
    except PipelineError as error:
        if "(Forbidden)" in str(error):
            return  # who may not look at something may still start a run
        what = "logs of failed steps, and what steps wait for, will not be shown"
        if not unseen:
            raise type(error)(f"{error} Or pass --no-kubectl; {what} then.") from error
        print(f"submit: warning: {error} Without it {what}.", file=sys.stderr)
        return
    where = f"{namespace} (kubectl's context {context})"
    if runs and not any(_knows(server, run_id) for run_id in runs):
        raise PipelineError(
            f"{where}: has pods of the run {runs[0]}, which {server.where} does not know: two "
            "clusters; `kubectl config use-context NAME`, or correct --endpoint."
        )
    if missing:
        raise MissingInput(
            f"{where}: lacks {', '.join(missing)}; `kubectl apply -k infra/kustomize/"
            f"{'overlays/...' if kubectl.ACCOUNT in missing[0] else 'workspace'}`, or "
            "`kubectl config use-context NAME` if Kubeflow is in another cluster."
        )


def find_namespace(server: Server) -> str:
    """Where runs will be; empty = not known: a Kubeflow of one user may be installed anywhere.

    Raises:
        PipelineError: kubectl cannot look.
        ServiceUnavailable: the cluster does not answer.
    """
    if server.namespace == kubectl.NAMESPACE:
        return server.namespace
    words = ("get", "services", "--all-namespaces", "--field-selector=metadata.name=ml-pipeline")
    found = kubectl.run(*words, "-o", "jsonpath={.items[*].metadata.namespace}").split()
    return found[0] if len(found) == 1 else ""


def _find_runs(namespace: str) -> list[str]:
    """The newest runs that have pods there."""
    found = kubectl.run("-n", namespace, "get", "pods", "-l", "pipeline/runid", "-o", "json")
    pods = [pod["metadata"] for pod in json.loads(found)["items"]]
    pods.sort(key=lambda pod: str(pod.get("creationTimestamp", "")), reverse=True)
    return list(dict.fromkeys(pod["labels"]["pipeline/runid"] for pod in pods))[:_RUNS]


def _find_missing(namespace: str, claim: str | None) -> list[str]:
    wanted = [f"serviceaccount/{kubectl.ACCOUNT}"]
    if claim:
        wanted.append(f"persistentvolumeclaim/{claim}")
    words = ("-n", namespace, "get", *wanted, "--ignore-not-found", "-o", "name")
    found = kubectl.run(*words).split()
    return [name for name in wanted if name not in found]


def _knows(server: Server, run_id: str) -> bool:
    """Whether the server has the run; an answer that does not say so speaks for it."""
    try:
        server.get_run(run_id)
    except MissingInput:
        return False
    except PipelineError:
        return True
    return True
