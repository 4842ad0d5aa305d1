"""What all commands share: the project's folder, its settings, and how tables are printed.

Cheap to import: what is heavy is imported by the function that needs it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from components.core.errors import MissingInput
from pipeline import SETTINGS
from pipeline.exit_codes import EXIT_NEEDS_ACTION as EXIT_NEEDS_ACTION
from pipeline.exit_codes import EXIT_USAGE as EXIT_USAGE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from pipeline.chosen_model import ChosenModel

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Registered model; default: of params.yaml."),
]

Version = Annotated[
    str | None,
    typer.Option("--version", metavar="N", help="Registered version; default: the champion."),
]
Trained = Annotated[
    bool, typer.Option("--trained", help="The model trained last, whatever the gate says of it.")
]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]

# What makes a folder the project.
_MARKS = (SETTINGS, Path("dvc.yaml"))

# Cells with these words are colored on a terminal.
_STYLES = {
    **dict.fromkeys(("ok", "pass", "passed", "done"), "green"),
    **dict.fromkeys(("warn", "warning", "blocked"), "yellow"),
    **dict.fromkeys(("fail", "failed", "error", "rejected"), "bold red"),
    **dict.fromkeys(("skipped", "none", "-"), "dim"),
}


class CommandGroup(TyperGroup):
    """The program, or a command that has commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, as the help shows them."""
        return _plain(super().get_params(ctx))


class ProjectCommand(TyperCommand):
    """A command that runs in the project's folder, wherever below it the user stands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, as the help shows them."""
        return _plain(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Enter the project; paths that the user typed stay relative to where they were typed."""
        below = enter_project()
        for name, value in ctx.params.items():
            source = ctx.get_parameter_source(name)
            if source is None or source.name != "COMMANDLINE":
                continue
            if isinstance(value, Path):
                ctx.params[name] = below / value
            elif isinstance(value, list | tuple):
                ctx.params[name] = [below / v if isinstance(v, Path) else v for v in value]
        return super().invoke(ctx)


def _plain(parameters: list[Any]) -> list[Any]:
    """Without `<bool>` behind each switch."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def enter_project() -> Path:
    """Make the project's folder the current one.

    Returns:
        The folder that was the current one, relative to the project.

    Raises:
        MissingInput: neither the current folder nor one above it holds params.yaml and dvc.yaml.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if all((folder / mark).is_file() for mark in _MARKS):
            os.chdir(folder)
            return here.relative_to(folder)
    raise MissingInput(
        f"{here}: is in no project: neither this folder nor one above it holds params.yaml and "
        "dvc.yaml; cd into the project."
    )


def check_params() -> None:
    """Refuse wrong settings: all of params.yaml, one message for all mistakes."""
    from components.io import params
    from pipeline.cli.settings import SECTIONS

    params.check(SETTINGS, SECTIONS)


def check_settings(*, patient: bool = False) -> None:
    """Refuse wrong settings, missing weights and an MLflow server that does not answer.

    Args:
        patient: wait for a server that restarts.
    """
    from components import train
    from components.io import models, params
    from components.tracking import server

    check_params()
    settings = params.load(SETTINGS, train.Params)
    models.find_initial_weights(settings.model.weights, settings.model.architecture)
    server.require_reachable(patience=server.outage_seconds() if patient else server.START_SECONDS)


def model_name(option: str | None) -> str:
    """The registered model: `--model`, or `register.model_name` of params.yaml."""
    if option:
        return option
    from components import register
    from components.io import params

    return str(params.load(SETTINGS, register.Params).register.model_name)


def choose_model(name: str | None, version: str | None, trained: bool) -> ChosenModel:
    """The model that `--model`, `--version` and `--trained` mean; the champion without them."""
    from pipeline.chosen_model import choose

    if trained and (version or name):
        raise typer.BadParameter("--trained is the model in artifacts/train: give no other one")
    return choose(model_name(name), version=version, trained=trained)


def ask(yes: bool) -> Callable[[str], bool]:
    """What asks a person at the terminal whether to go on with a plan.

    Args:
        yes: they have agreed already; without a terminal they must have.
    """

    def confirm(plan: str) -> bool:
        if yes:
            return True
        if not sys.stdin or not sys.stdin.isatty():
            raise typer.BadParameter(f"{plan}: say --yes, for there is no terminal to ask at")
        return input(f"{plan}. Continue? [y/N] ").strip().lower() in ("y", "yes")

    return confirm


def print_json(content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one line of JSON, for programs."""
    print(json.dumps(content))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    header: bool = True,
    widths: Sequence[int] | None = None,
) -> None:
    """Print rows under aligned columns; long cells wrap on a terminal and nowhere else.

    Without a terminal the text is plain and whole, so that `grep` and `cut` find what they look
    for. NO_COLOR is respected.

    Args:
        columns: their titles.
        rows: cells as text, as many as columns.
        header: whether to print the titles.
        widths: at least so many characters for each column; with them each row is printed as soon
            as it comes.
    """
    if sys.stdout.isatty():
        _print_rich(columns, rows, header)
        return
    lines: Iterable[Sequence[str]] = chain([columns] if header else [], rows)
    if widths is None:
        lines = [[*line] for line in lines]
        widths = [max((len(line[k]) for line in lines), default=0) for k in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip(), flush=True)


def _print_rich(columns: Sequence[str], rows: Iterable[Sequence[str]], header: bool) -> None:
    from rich.live import Live
    from rich.table import Table

    table = Table(box=None, show_header=header, header_style="bold", pad_edge=False, padding=(0, 1))
    for name in columns:
        table.add_column(name, overflow="fold")
    with Live(table, console=console(), refresh_per_second=10, vertical_overflow="visible"):
        for row in rows:
            table.add_row(*map(_styled, row))


def console() -> Console:
    """The terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def _styled(cell: str) -> Text:
    from rich.text import Text

    return Text(cell, style=_STYLES.get(cell.lower(), ""))
