"""What a run will cost is said once, by the first step that DVC really runs."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from components import STEPS
from pipeline import first_line, forecast, starter
from pipeline.forecast import speeds
from tests.pipeline.forecast.test_costs import SPEEDS
from tests.pipeline.forecast.test_forecast import project as project

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def dvc(project: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The current folder is a project whose stages DVC runs."""
    monkeypatch.setattr(speeds, "of_this_machine", lambda _task, _cache, **_settings: SPEEDS)
    monkeypatch.setenv("DVC_STAGE", "any")
    return monkeypatch


def said(capsys: Capture, *steps: str) -> list[str]:
    """Lines of a run of these steps: the steps that each of them forecasts."""
    for step in steps:
        paths: Any = import_module(f"components.{step}").Paths()
        with first_line.told(step, paths):
            pass
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning:" not in line]
    assert all(line.startswith("forecast  about ") for line in lines)
    return [" ".join(step for step in STEPS if f" {step} " in line) for line in lines]


def test_the_first_step_says_it_for_all_that_follow(
    dvc: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert said(capsys, *STEPS) == [" ".join(STEPS)]


def test_where_validate_is_skipped_the_first_step_that_runs_says_what_is_left(
    dvc: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert said(capsys, "train", "evaluate", "register") == ["train evaluate register"]
    assert said(capsys, "evaluate") == []  # still the same DVC
    dvc.setattr(starter, "dvc_process", lambda: "another")
    assert said(capsys, "tune", "train") == ["tune train evaluate register"]


def test_a_repetition_that_only_looks_at_the_registry_forecasts_nothing(
    dvc: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert said(capsys, "register") == []


def test_of_what_a_person_starts_validate_alone_begins_a_run(
    dvc: pytest.MonkeyPatch, capsys: Capture
) -> None:
    dvc.delenv("DVC_STAGE")
    assert said(capsys, "validate", "tune", "validate", "train") == 2 * [" ".join(STEPS)]


def test_it_is_kept_beside_no_output_of_dvc_and_needs_no_room(
    dvc: pytest.MonkeyPatch, project: Path, capsys: Capture
) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert len(said(capsys, "train")) == 1
    new = {path for path in project.rglob("*") if path.is_file()} - set(before)
    assert [path.relative_to(project).as_posix() for path in new] == ["artifacts/validate/.begun"]
    assert all(path.read_bytes() == content for path, content in before.items())
    for path in new:
        path.unlink()
        path.mkdir()  # it cannot be written
    assert len(said(capsys, "train")) == 1


def test_it_can_be_switched_off(dvc: pytest.MonkeyPatch, capsys: Capture) -> None:
    dvc.setenv(forecast.VARIABLE, "1")
    assert said(capsys, "train") == []
