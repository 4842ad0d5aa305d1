"""Commands of the data: they print what was done, and refuse in one line."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main

Capture = pytest.CaptureFixture[str]


def test_pin_splits_prints_how_many_images_are_pinned(
    workspace: Any, tmp_path: Path, capsys: Capture
) -> None:
    inputs = workspace.inputs
    table = tmp_path / "splits.csv"
    shutil.copy(workspace.root / "data/splits.csv", table)
    command = ["pin-splits", f"--manifest={inputs['manifest']}", f"--report={inputs['report']}"]
    assert main([*command, f"--pinned-splits={table}"]) == 0
    assert "48 images pinned, 48 of them new: train " in capsys.readouterr().out
    assert len(table.read_text().splitlines()) == 49


def test_pin_splits_before_a_validation_says_what_to_run(tmp_path: Path, capsys: Capture) -> None:
    assert main(["pin-splits", f"--report={tmp_path / 'report.json'}"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "dvc repro" in error


def test_sample_data_leaves_a_folder_with_other_files_alone(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "mine.png").write_bytes(b"x")
    assert main(["sample-data", f"--images={tmp_path}"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "mine.png" in error
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
