"""`submit`: start a run of this checkout on Kubeflow Pipelines."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ServiceUnavailable
from components.core.phrases import short_digest
from components.io import params
from pipeline import SETTINGS
from pipeline.kubeflow import git_state, preflight, remote_images, resources, sections
from pipeline.kubeflow.follow import follow

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Server

# How long the remote of the images may take: a hundred thousand of them are listed.
_REMOTE_SECONDS = 60.0


def submit(
    image: str,
    *,
    endpoint: str | None,
    repository: str | None,
    unseen: bool,
    experiment: str | None,
    wait: bool,
) -> int:
    """Start a run of the pushed commit; returns the exit code.

    Args:
        image: of every task, pinned by its digest.
        endpoint: of Kubeflow Pipelines; None = as the environment says.
        repository: where the cluster fetches from; None = the git remote `origin`.
        unseen: start although kubectl cannot look at the cluster.
        experiment: of Kubeflow Pipelines; None = the model's name.
        wait: follow the run to its end.

    Raises:
        PipelineError: the checkout cannot be fetched, the server refuses, or the run failed.
        ServiceUnavailable: repository or server does not answer.
    """
    from pipeline.kubeflow.client import Server

    fetched = git_state.read(repository)
    _require_images(fetched.data_hash)
    cluster = params.load(SETTINGS, resources.Params).cluster
    server = Server(endpoint)
    preflight.require(server, cluster, unseen)
    run_id = _start(server, image, fetched, experiment, cluster)
    facts = f"git {short_digest(fetched.revision)}, data {short_digest(fetched.data_hash)}"
    print(f"run {run_id}: {server.page(run_id)} ({facts})", flush=True)
    return follow(server, run_id) if wait else 0


def _require_images(data_hash: str) -> None:
    """Refuse a run whose fetch would find no images; only a warning where that cannot be known."""
    try:
        remote_images.require(data_hash, _REMOTE_SECONDS)
    except (ServiceUnavailable, TimeoutError) as error:  # perhaps only the cluster has the keys
        print(f"submit: warning: are the images there? {error}", file=sys.stderr)


def follow_run(endpoint: str | None, run_id: str) -> int:
    """Follow a run that was started before; as `follow`."""
    from pipeline.kubeflow.client import Server

    return follow(Server(endpoint), run_id)


def _start(
    server: Server,
    image: str,
    fetched: git_state.Source,
    experiment: str | None,
    cluster: resources.ClusterParams,
) -> str:
    """A run of the pipeline that has the model's name, in its version of this commit."""
    from pipeline.kubeflow import versions
    from pipeline.kubeflow.compiler import compile_to

    settings = sections.to_json(Path.cwd())
    name, short = json.loads(settings["register"])["model_name"], short_digest(fetched.revision)
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        compile_to(compiled, Path.cwd(), image, cluster)
        version = versions.publish(server, compiled, name, short)
    del settings["cluster"]  # compiled into what each step asks for
    parameters = {**fetched._asdict(), **settings}
    return server.start(version, experiment or name, f"{name} {short}", parameters)
