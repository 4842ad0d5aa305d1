"""`submit --branch`: run what a branch holds, now or again and again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components import register
from components.io import params
from pipeline import SETTINGS
from pipeline.kubeflow import fetch, git_state, preflight, resources
from pipeline.kubeflow.follow import follow

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Server
    from pipeline.kubeflow.versions import Version


def run(
    image: str,
    branch: str,
    *,
    endpoint: str | None,
    repository: str | None,
    unseen: bool,
    experiment: str | None,
    wait: bool,
) -> int:
    """Start a run of the tip of a branch, with the params.yaml there; returns the exit code.

    The run ends at once where the last verdict is about that very commit.

    Args:
        image: of every task, pinned by its digest.
        branch: of the repository.
        endpoint: of Kubeflow Pipelines; None = as the environment says.
        repository: where the cluster fetches from; None = the git remote `origin`.
        unseen: start although kubectl cannot look at the cluster.
        experiment: of Kubeflow Pipelines; None = the model's name.
        wait: follow the run to its end.

    Raises:
        PipelineError: there is no such branch, the server refuses, or the run failed.
        ServiceUnavailable: repository or server does not answer.
    """
    from pipeline.kubeflow.client import Server

    source, model = _source(branch, repository), _model_name()
    server = Server(endpoint)
    version = _publish(server, image, model, unseen)
    run_id = server.start(version, experiment or model, f"{model} {branch}", source)
    print(f"run {run_id}: {server.page(run_id)} (branch {branch})", flush=True)
    return follow(server, run_id) if wait else 0


def schedule(
    image: str,
    branch: str,
    every: str,
    *,
    endpoint: str | None,
    repository: str | None,
    unseen: bool,
) -> None:
    """Have Kubeflow run a branch again and again, in place of what it had for it before.

    Args:
        image: of every task, pinned by its digest.
        branch: of the repository.
        every: cron expression of five fields, by the server's clock.
        endpoint: of Kubeflow Pipelines; None = as the environment says.
        repository: where the cluster fetches from; None = the git remote `origin`.
        unseen: start although kubectl cannot look at the cluster.

    Raises:
        PipelineError: there is no such branch, or the server refuses.
        ServiceUnavailable: repository or server does not answer.
    """
    from pipeline.kubeflow import schedules
    from pipeline.kubeflow.client import Server

    every = schedules.require_cron(every)
    source, model = _source(branch, repository), _model_name()
    server = Server(endpoint)
    schedules.replace(server, _publish(server, image, model, unseen), model, source, every)
    print(
        f"{model}: Kubeflow runs the branch {branch} at {every!r} (its clock), and ends at once "
        f"where nothing is new; {server.pages}/#/recurringruns"
    )


def unschedule(branch: str, *, endpoint: str | None) -> None:
    """Have Kubeflow run the branch no more.

    Args:
        branch: of the repository.
        endpoint: of Kubeflow Pipelines; None = as the environment says.

    Raises:
        PipelineError: the server refuses.
        ServiceUnavailable: it does not answer.
    """
    from pipeline.kubeflow import schedules
    from pipeline.kubeflow.client import Server

    count, model = schedules.remove(Server(endpoint), _model_name(), branch), _model_name()
    done = "is no longer run by itself" if count else "was not run by itself; nothing to remove"
    print(f"{model}: the branch {branch} {done}")


def _source(branch: str, repository: str | None) -> dict[str, str]:
    """The arguments of the pipeline, of a branch that is there."""
    url = repository or git_state.origin()
    git_state.require_no_secret(url)
    fetch.tip(url, branch)
    return {"repository": url, "branch": branch}


def _model_name() -> str:
    return params.load(SETTINGS, register.Params).register.model_name


def _publish(server: Server, image: str, model: str, unseen: bool) -> Version:
    """The version `branch` of the model's pipeline, on a cluster where it can run."""
    from pipeline.kubeflow import versions
    from pipeline.kubeflow.compiler import compile_branch

    cluster = params.load(SETTINGS, resources.Params).cluster
    preflight.require(server, cluster, unseen)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compile_branch(file, image, cluster)
        return versions.publish(server, file, model, "branch")
