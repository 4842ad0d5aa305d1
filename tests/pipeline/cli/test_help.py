"""What the command line says about itself, and how fast."""

import dataclasses
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
import typer

from components import STEPS
from pipeline.cli import app, main
from tests.components.conftest import ROOT

HEAVY = ("torch", "pandas", "numpy", "mlflow", "great_expectations", "optuna", "kfp", "matplotlib")


def commands() -> Iterator[tuple[str, Any]]:
    """Name and command of everything that can be typed, steps included."""
    root: Any = typer.main.get_command(app)
    context = typer.Context(root, info_name="pipeline")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        yield name, command
        if name == "step":
            yield from ((f"step {s}", command.get_command(context, s)) for s in STEPS)


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_and_shows_each_option(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.help.splitlines()[0].endswith(".")
    for parameter in command.params:
        assert parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.startswith("step ")])
def test_each_command_has_an_example_that_starts_with_it(name: str) -> None:
    assert COMMANDS[name].epilog.startswith(f"Example: python -m pipeline {name}")


def test_commands_stand_in_the_panel_of_their_group_and_exit_codes_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    panels = {
        name: command.rich_help_panel for name, command in COMMANDS.items() if " " not in name
    }
    assert list(dict.fromkeys(panels.values())) == [
        "project",
        "model",
        "data",
        "registry",
        "cluster",
    ]
    assert all(f" {panel} " in text for panel in panels.values())
    assert all(name in text for name in panels)
    assert "3 needs attention" in text


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_an_option_for_each_path_with_its_description_and_default(step: str) -> None:
    kind = importlib.import_module(f"components.{step}").Paths
    hints = get_type_hints(kind, include_extras=True)
    options = {parameter.name: parameter for parameter in COMMANDS[f"step {step}"].params}
    assert list(options) == [field.name for field in dataclasses.fields(kind)]
    for field in dataclasses.fields(kind):
        text = hints[field.name].__metadata__[0]
        assert options[field.name].help.lower().startswith(text.lower())
        assert options[field.name].default == field.default


@pytest.mark.parametrize(
    "words", [["--help"], ["step", "--help"], ["status", "--help"], ["submit", "--help"]]
)
def test_help_loads_no_heavy_library(words: list[str]) -> None:
    code = (
        "import sys; from pipeline.cli import main; main(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    heavy = [name for name in HEAVY if words[0] != "step" or name != "numpy"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    assert not [name for name in heavy if repr(name) in loaded]


def test_help_needs_no_terminal_and_no_color_is_respected() -> None:
    def help_with(**environment: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", "check", "--help"],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "\x1b[" not in help_with()
    assert "\x1b[3" not in help_with(FORCE_COLOR="1", NO_COLOR="1")


def test_without_the_environment_two_lines_say_how_to_get_it() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "pipeline", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: the package ")
    assert "make install" in second
    assert ".venv/bin/activate" in second
