"""Commands of the cluster: compile, run-local, submit."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from components.core.errors import PipelineError
from pipeline import SETTINGS
from pipeline.cli.common import check_params, check_settings

_PANEL = "cluster"
_NEVER = "never"
_DIGEST = "NAME@sha256:DIGEST"
_IMAGE = f"--image registry.example/pipeline@sha256:{'0' * 8}..."


def add(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (("compile", compile_), ("run-local", run_local), ("submit", submit)):
        app.command(name, rich_help_panel=_PANEL, epilog=_EXAMPLES[name])(command)


_EXAMPLES = {
    "compile": f"Example: python -m pipeline compile {_IMAGE} --output pipeline.yaml",
    "run-local": "Example: python -m pipeline run-local",
    "submit": f"Example: python -m pipeline submit {_IMAGE} --wait",
}


def compile_(
    output: Annotated[Path, typer.Option(metavar="FILE", help="YAML file to write.")],
    image: Annotated[
        str, typer.Option(metavar=_DIGEST, help="What every task runs in, pinned by its digest.")
    ],
) -> None:
    """Compile the pipeline to YAML for Kubeflow Pipelines."""
    from components.io import params
    from pipeline.kubeflow.resources import Params

    check_params()
    compiler = _import_compiler()
    compiler.compile_to(output, Path.cwd(), image, params.load(SETTINGS, Params).cluster)
    print(f"{output}: upload it to Kubeflow Pipelines")


def run_local(
    register: Annotated[
        bool,
        typer.Option("--register", help="Into the project's own MLflow store, like dvc repro."),
    ] = False,
) -> None:
    """Run Kubeflow's graph on this machine, in artifacts/run-local: no cluster, no containers."""
    check_settings()
    compiler = _import_compiler()
    record = compiler.run_local(Path.cwd(), register=register)
    print(f"run-local: {record.outcome.verdict}; {compiler.LOCAL_OUTPUTS}/register")


def submit(
    image: Annotated[
        str | None, typer.Option(metavar=_DIGEST, help="Start a run in this image.")
    ] = None,
    follow: Annotated[
        str | None, typer.Option(metavar="RUN_ID", help="Start nothing; follow this run.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run what this branch holds, if it is new.")
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="CRON", help="With --branch: again and again; `never` ends it."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Default: KF_PIPELINES_ENDPOINT.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="URL", help="Default: the git remote `origin`.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: the model's name.")
    ] = None,
    no_kubectl: Annotated[
        bool, typer.Option("--no-kubectl", help="Start although kubectl cannot see the cluster.")
    ] = False,
) -> int:
    """Start a run of the pushed commit on Kubeflow Pipelines; --wait follows it to its end."""
    _require_one_meaning(image, follow, branch, every, wait)
    check_params()
    _import_compiler()
    from pipeline.kubeflow import submit as submission
    from pipeline.kubeflow import submit_branch

    if follow is not None:
        return submission.follow_run(endpoint, follow)
    if branch is not None and every == _NEVER:
        submit_branch.unschedule(branch, endpoint=endpoint)
        return 0
    assert image is not None
    there: dict[str, Any] = {"endpoint": endpoint, "repository": repository, "unseen": no_kubectl}
    if branch is not None and every is not None:
        submit_branch.schedule(image, branch, every, **there)
        return 0
    if branch is not None:
        return submit_branch.run(image, branch, **there, experiment=experiment, wait=wait)
    return submission.submit(image, **there, experiment=experiment, wait=wait)


def _require_one_meaning(
    image: str | None, follow: str | None, branch: str | None, every: str | None, wait: bool
) -> None:
    """Refuse options that do not go together."""
    if every is not None and branch is None:
        raise typer.BadParameter("--every needs --branch: it runs what that holds then")
    if every is not None and wait:
        raise typer.BadParameter("--every starts nothing now that --wait could follow")
    if follow is not None and branch is not None:
        raise typer.BadParameter("say either --follow or --branch")
    if every != _NEVER and (image is None) == (follow is None):
        raise typer.BadParameter("say either --image or --follow")


def _import_compiler() -> ModuleType:
    """Half a second and an optional package: only for the commands that need it."""
    try:
        return import_module("pipeline.kubeflow.compiler")
    except ImportError as error:
        raise PipelineError(
            f"{error}; run `make install`, or install this project with its extra `kubeflow`."
        ) from error
