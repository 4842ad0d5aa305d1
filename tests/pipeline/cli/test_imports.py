"""What commands import, and how they end: both are most of what a person waits for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.tracking.store import Store
from tests.components.conftest import ROOT
from tests.registry import NAME, add_promoted

# No command that only reads the registry needs them.
TRAINING = ("torch", "torchvision", "great_expectations", "optuna", "matplotlib", "kfp", "dvc")


def run(code: str, *words: str, **environment: str) -> list[str]:
    """The lines that a process prints which runs the command line at the end of `code`."""
    end = "from pipeline.__main__ import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", f"import atexit, gc, sys\n{code}\n{end}", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def imported(*words: str, **environment: str) -> set[str]:
    """Top-level packages that the command had imported when it ended."""
    tops = "sorted({name.partition('.')[0] for name in sys.modules})"
    lines = run(f"atexit.register(lambda: print(*{tops}))", *words, **environment)
    return set(lines[-1].split())


@pytest.mark.parametrize("command", ["status", "history"])
def test_reading_the_registry_imports_nothing_that_trains(
    command: str, opened: Store, tmp_path: Path
) -> None:
    add_promoted(opened, tmp_path, "a")
    found = imported(command, "--model", NAME, MLFLOW_TRACKING_URI=opened.uri)
    assert "mlflow" in found
    assert not found & set(TRAINING)


def test_help_imports_not_even_mlflow() -> None:
    found = imported("--help")
    assert "typer" in found
    assert not found & {*TRAINING, "mlflow", "numpy", "pandas", "sqlalchemy"}


def test_what_is_left_at_the_end_is_not_searched_for_garbage() -> None:
    # Callbacks run last in, first out: this one after those of the command line.
    lines = run("atexit.register(lambda: print(gc.get_freeze_count()))", "--help")
    assert int(lines[-1]) > 10_000


def test_where_triton_is_loaded_it_is_searched_or_triton_would_name_what_is_left() -> None:
    code = "sys.modules['triton'] = sys; atexit.register(lambda: print(gc.get_freeze_count()))"
    assert run(code, "--help")[-1] == "0"
