"""Words on the command line: usage errors, folders, exit codes."""

import contextlib
import gc
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.__main__ import main as start
from pipeline.cli import main
from pipeline.cli.common import enter_project
from tests.components.conftest import ROOT, write_params

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is a project, with a folder inside that is the current one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_params(tmp_path / "params.yaml", {})
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "data/deep").mkdir(parents=True)
    with contextlib.chdir(tmp_path / "data/deep"):
        yield tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["chekc"], "No such command"),
        (["check", "--more"], "No such option"),
        (["check", "stray"], "unexpected"),
        (["step"], "Missing command"),
        (["step", "nothing"], "No such command"),
        (["step", "train", "--modle", "x"], "No such option"),
        (["compile", "--output", "x"], "Missing option '--image'"),
        (["tune"], "--workers"),
        (["tune", "--workers", "0"], "--workers"),
        (["tune", "--worker", "-1"], "--worker"),
        (["tune", "--workers", "2", "--worker", "1"], "--workers"),
        (["submit"], "--image"),
        (["submit", "--image", "x", "--follow", "y"], "--image"),
    ],
)
def test_wrong_usage_exits_with_2_and_two_lines(
    words: list[str], found: str, project: Path, capsys: Capture
) -> None:
    assert main(words) == 2
    error, usage = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert found in error
    assert usage.startswith("usage: python -m pipeline")
    assert usage.endswith("--help")


def test_no_words_print_the_help_and_are_wrong_usage(capsys: Capture) -> None:
    assert main([]) == 2
    assert "Usage: " in capsys.readouterr().out


def test_a_command_works_from_every_folder_below_the_project(
    project: Path, capsys: Capture
) -> None:
    assert main(["check"]) == 0
    assert Path.cwd() == project


def test_outside_a_project_one_line_says_so(tmp_path: Path, capsys: Capture) -> None:
    with contextlib.chdir(tmp_path):
        assert main(["check"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "params.yaml and dvc.yaml" in error


def test_help_needs_no_project(tmp_path: Path, capsys: Capture) -> None:
    with contextlib.chdir(tmp_path):
        assert main(["check", "--help"]) == 0


def test_the_project_is_the_nearest_folder_above(project: Path) -> None:
    inner = project / "data/deep"
    shutil.copy(ROOT / "dvc.yaml", inner)
    assert enter_project() == Path("data/deep")
    shutil.copy(project / "params.yaml", inner)
    with contextlib.chdir(inner):
        assert enter_project() == Path()


def test_typed_paths_are_seen_from_where_they_were_typed(project: Path, capsys: Capture) -> None:
    words = ["step", "validate", "--images", "nowhere"]
    assert main(words) == 1
    assert "data/deep/nowhere: " in capsys.readouterr().err
    with contextlib.chdir(project / "data/deep"):
        assert main(["step", "validate", "--images", str(project / "elsewhere")]) == 1
    assert f"{project}/elsewhere: " in capsys.readouterr().err
    with contextlib.chdir(project / "data/deep"):
        assert main(["step", "validate"]) == 1
    assert "error: data/images: " in capsys.readouterr().err


def test_wrong_settings_are_refused_before_a_step_starts(project: Path, capsys: Capture) -> None:
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("min_macro_f1:", "min_macro_f:"))
    assert main(["step", "validate"]) == 1
    error = capsys.readouterr().err
    assert "register.gate.min_macro_f is not a setting. Did you mean" in error
    assert error.count("\n") == 1


def test_the_program_is_called_as_it_was_started(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/pipeline"])
    assert main(["chekc"]) == 2
    assert "usage: pipeline --help" in capsys.readouterr().err


@pytest.mark.row("N12")
@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///somewhere/mlruns", ""])
def test_a_folder_as_tracking_uri_is_refused_in_one_line_before_a_step_starts(
    uri: str, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["step", "train"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: MLFLOW_TRACKING_URI is ")
    assert error.count("\n") == 1


def test_imports_set_off_few_searches_for_garbage() -> None:
    before = gc.get_threshold()
    try:
        assert start(["--help"]) == 0
        assert gc.isenabled()
        assert gc.get_threshold()[0] == 50_000
    finally:
        gc.set_threshold(*before)


_INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from pipeline.__main__ import main
main(["--help"])
"""


def test_an_interrupt_while_modules_are_read_ends_it_without_a_stack() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_afterwards_interrupts_are_what_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    with contextlib.suppress(SystemExit):
        start(["--help"])
    assert signal.getsignal(signal.SIGINT) is before
