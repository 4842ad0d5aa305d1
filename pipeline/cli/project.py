"""Commands of the project: init, check, doctor, demo, step, tune."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from components import STEPS
from components.core.errors import PipelineError
from pipeline import IMAGES, SETTINGS, step_lock
from pipeline.cli.common import (
    CommandGroup,
    Json,
    ProjectCommand,
    check_params,
    check_settings,
    print_json,
    print_table,
)

_PANEL = "project"


def add(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (init, check, doctor, demo, tune):
        name = command.__name__
        app.command(name, rich_help_panel=_PANEL, epilog=_EXAMPLES[name])(command)
    steps = typer.Typer(cls=_Steps, rich_markup_mode="rich", no_args_is_help=False)
    steps.callback()(step)
    app.add_typer(steps, name="step", rich_help_panel=_PANEL, epilog=_EXAMPLES["step"])


_EXAMPLES = {
    "init": "Example: python -m pipeline init ~/photos --name weld-defects && dvc repro",
    "check": "Example: python -m pipeline check",
    "doctor": "Example: python -m pipeline doctor --cluster",
    "demo": "Example: python -m pipeline demo",
    "step": "Example: python -m pipeline step validate --images data/images",
    "tune": "Example: python -m pipeline tune --workers 4",
}


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Of your images: a folder per class, or train, val and test of such folders.",
        ),
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Of the registered model, e.g. weld-defects.")
    ],
    link: Annotated[
        bool,
        typer.Option(
            "--link",
            help="Make hard links, not copies; a file changed in place changes in both folders.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace what is yours, too; it is kept in backup/.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be written; write nothing.")
    ] = False,
) -> None:
    """Set the project up for your own images: settings that suit them, and data/images with DVC.

    Looks at the folder and at this machine, writes what follows into params.yaml with the reason of
    each value, copies the images and records them. What is the sample's is replaced; anything
    else is refused by name. Running it again is right, also after it was stopped.
    """
    from components.io import params
    from pipeline import foresight
    from pipeline.new_project import setup, source, summary

    check_params()
    tolerated = params.load(SETTINGS, foresight.Settings).validate.warning_rules
    proposal = summary.propose(source.read_source(folder, tolerated), name)
    plan = setup.plan(proposal.source, proposal.text, proposal.choices)
    if not (yes or dry_run):
        setup.require_free(plan)
    print(*summary.found_lines(proposal), "", sep="\n")
    print_table(("setting", "value", "reason"), summary.choice_rows(proposal.choices))
    print(*(f"\nno model can pass: {text}" for text in proposal.obstacles))
    if dry_run:
        print("nothing was written", *setup.replaced_lines(plan), sep="\n")
        return
    setup.require_room(plan, link=link)
    backup = setup.carry_out(plan, link=link)
    setup.record()
    print(f"written: {SETTINGS}, {IMAGES}, {IMAGES}.dvc")
    if backup:
        print(f"what was there before: {backup}")
    print("Next: dvc repro; if you use git: git add params.yaml data && git commit")


def check() -> None:
    """Check params.yaml, the initial weights and the MLflow server, before any work starts.

    Says also what can be known already: a gate that no model can pass on these images, settings
    that are the sample's, a champion that knows other classes.
    """
    from components import validate
    from pipeline import foresight

    check_settings()
    print(f"{SETTINGS}, the initial weights and MLflow: fine")
    for notice in foresight.notices(validate.Paths()):
        print(f"warning: {notice}")


def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="Check the cluster, too.")] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Of Kubeflow Pipelines; default: KF_PIPELINES_ENDPOINT."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Ask from inside the cluster, too: pods for two minutes."),
    ] = False,
    image: Annotated[
        str | None, typer.Option(metavar="NAME@sha256:DIGEST", help="Of the run; for --probe.")
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(metavar="URL", help="For --probe; default: the git remote `origin`."),
    ] = None,
    json: Json = False,
) -> int:
    """Check what the pipeline needs here: machine, packages, settings, data; --cluster: there."""
    from pipeline.doctor import all_checks, diagnose, exit_code, probed

    if (probe or image) and not (probe and image and cluster):
        raise typer.BadParameter("--probe needs --cluster and --image, and --image needs --probe")
    checks = all_checks(check_params, cluster=cluster, endpoint=endpoint)
    results = []

    def rows(found: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
        for name, result in found:
            results.append(result)
            hint = f"-> {result.hint}" if result.hint else ""
            yield result.status, name, " ".join(result.found.split()), hint

    with contextlib.closing(probed(image, repository)) as inside:
        found = rows(chain(diagnose(checks), inside))
        if json:
            names = [row[1] for row in found]
            print_json([{"check": n, **r._asdict()} for n, r in zip(names, results, strict=True)])
        else:
            columns = ("status", "check", "found", "hint")
            print_table(columns, found, header=False, widths=(7, 14 if probe else 11, 0, 0))
    return exit_code(results)


def demo() -> None:
    """Run the whole pipeline on the sample (or on the images that are there), then show times."""
    if not IMAGES.exists():
        from pipeline import sample_data

        sample_data.materialize(IMAGES)
        sample_data.record()
    with tempfile.TemporaryDirectory() as folder:
        timings = Path(folder) / "timings"
        started = time.monotonic()
        environment = {**os.environ, "PIPELINE_TIMINGS": str(timings)}
        dvc = [sys.executable, "-m", "dvc", "repro"]
        # `python` in dvc.yaml must be this environment's
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"
        code = subprocess.run(dvc, env=environment, check=False).returncode  # noqa: S603
        _print_timings(timings, time.monotonic() - started)
    if code:
        raise PipelineError("demo: dvc repro failed; see above.")
    print("\nNext: python -m pipeline report, make ui (runs and versions), dvc plots show")


def _print_timings(path: Path, total: float) -> None:
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    print()
    print_table(("step", "seconds", "peak MiB"), [*rows, ["total", f"{total:.1f}", ""]])


def tune(
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="All of them on this machine.")
    ] = None,
    worker: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Only number K, from 1; the others, 0 among them, share OPTUNA_STORAGE.",
        ),
    ] = None,
) -> None:
    """Tune with several workers, each on a GPU or a share of the cores of its own."""
    from pipeline import tune_workers

    if (workers is None) == (worker is None):
        raise typer.BadParameter("say either --workers N or --worker K")
    if workers is not None:
        tune_workers.run_workers(workers)
    else:
        assert worker is not None
        tune_workers.run_worker(worker)


def step() -> None:
    """Run one step of the pipeline, after a check of all of params.yaml."""


def run_step(name: str, paths: Mapping[str, Path]) -> None:
    """Check everything, then run a step.

    Args:
        name: of the step.
        paths: field of its `Paths` -> value.
    """
    from components.io import params
    from components.io.project import original_folder
    from pipeline import costs, first_line

    # A server that answered when the run began is restarting; at its begin the address is wrong.
    check_settings(patient=name != "validate")
    if (original := original_folder()) and paths.get("cache") == Path("cache"):
        # DVC deletes its copies of the project; what was decoded stays with the original.
        paths = {**paths, "cache": original / "cache"}
    module = import_module(f"components.{name}")
    places = module.Paths(**paths)
    if name == "register":
        from pipeline import current_model

        current_model.require(places)
    with step_lock.held(name, places), first_line.told(name, places), costs.measured(name, places):
        module.run(places, params.load(SETTINGS, module.Params))


class _Steps(CommandGroup):
    """One command per step; a step is imported when its command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The steps in order."""
        return list(STEPS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:  # noqa: ARG002
        """The command of a step, with an option for each path."""
        return _step_command(cmd_name) if cmd_name in STEPS else None


def _step_command(name: str) -> TyperCommand:
    module = import_module(f"components.{name}")

    def act(**paths: Path) -> None:
        run_step(name, paths)

    hints = get_type_hints(module.Paths, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_option(hints[field.name].__metadata__[0]),
        )
        for field in dataclasses.fields(module.Paths)
    ]
    act.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    act.__annotations__ = {option.name: option.annotation for option in options}
    act.__doc__ = (module.__doc__ or "").partition("\n")[0]
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, cls=ProjectCommand)(act)
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def _option(text: str) -> Any:
    return Annotated[Path, typer.Option(metavar="PATH", help=f"{text[:1].upper()}{text[1:]}.")]
