"""The command line: what a person types. Commands parse, call and print; nothing else.

Each module holds one group of commands and adds it to the app by `add(app)`. A command imports what
it needs when it runs, so that `--help` waits for nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from pipeline.cli import cluster, data, model, project, registry, report
from pipeline.cli.common import CommandGroup, ProjectCommand
from pipeline.exit_codes import EXIT_USAGE, exit_code_of

# In the order of the help.
GROUPS = (project, report, model, data, registry, cluster)

_EPILOG = (
    "Exit codes: 0 done, 1 fixable by you, 2 wrong usage, 3 needs attention, 5 a service did not "
    "answer, 70 internal error, 130 interrupted, 143 stopped after a checkpoint."
)


def _make_app() -> typer.Typer:
    """The app with all commands."""
    app = typer.Typer(
        cls=CommandGroup,
        help="Class folders of images in, a reviewed model version out.",
        epilog=_EPILOG,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for group in GROUPS:
        group.add(app)
    for command in app.registered_commands:
        command.cls = ProjectCommand
    return app


app = _make_app()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; None = those of this process.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else [*argv]
    names = [word for word in words if not word.startswith("-")]
    name = names[1] if names[1:] and names[0] == "step" else "".join(names[:1])
    return exit_code_of(lambda: _invoke(words), name or "pipeline")


def _invoke(words: list[str]) -> object:
    """Parse and run; a usage error is at most two lines."""
    command = typer.main.get_command(app)
    program = "pipeline" if Path(sys.argv[0]).name == "pipeline" else "python -m pipeline"
    try:
        with command.make_context(program, [*words] or ["--help"]) as context:
            return command.invoke(context)
    except typer.Exit as end:
        return end.exit_code if words else EXIT_USAGE
    except typer.TyperException as error:
        place = getattr(getattr(error, "ctx", None), "command_path", program)
        text = " ".join(error.format_message().split())
        print(f"error: {text}\nusage: {place} --help", file=sys.stderr)
        return error.exit_code
