"""`doctor` on what a run will cost: rows of a small real project, and what they notice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import busy_cores, cli
from pipeline.doctor import costs
from pipeline.doctor.check import run_check
from pipeline.forecast import Forecast
from pipeline.forecast.costs import Span, StepCost
from tests.pipeline.forecast.test_advice import CPU
from tests.pipeline.forecast.test_forecast import project as project

STEPS = [StepCost("train", Span(60, 60, 60), 2_048)]
FOUND = Forecast(STEPS, CPU, free_mib=4_096)


def test_the_rows_say_cost_advice_and_cores_of_a_real_project(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["doctor", "--json"])
    rows = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["cost"]["status"] == "pass"
    assert rows["cost"]["found"].startswith("about ")
    assert "on this machine: validate " in rows["cost"]["found"]
    assert rows["advice"]["status"] == "warn"  # 32 training images, light augmentation
    assert "32 training images ask for maximum augmentation" in rows["advice"]["found"]
    assert rows["advice"]["hint"] == "training.augmentation: maximum"
    assert rows["cores"]["status"] in ("pass", "warn")


def test_memory_that_is_not_there_is_a_warning() -> None:
    assert costs.cost(FOUND).status == "pass"
    assert costs.cost(replace(FOUND, free_mib=None)).status == "pass"
    short = costs.cost(replace(FOUND, free_mib=2_000))
    assert short.status == "warn"
    assert short.found.endswith("; only 2.0 GiB are free")
    assert "smaller" in short.hint


def test_advice_warns_only_where_a_setting_goes_against_it() -> None:
    assert costs.advice(FOUND).status == "pass"
    few = costs.advice(replace(FOUND, facts=replace(CPU, train=50, max_model_mb=5.0)))
    assert few.status == "warn"
    assert few.hint == "training.augmentation: maximum, model.architecture: mobilenet_v3_small"


@pytest.mark.parametrize(("busy", "status"), [(0.0, "pass"), (0.2, "pass"), (1.0, "warn")])
def test_busy_cores_are_a_warning(
    busy: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy_cores, "look", lambda _seconds: busy)
    found = costs.cores()
    assert found.status == status
    if busy > busy_cores.NOTICEABLE:
        assert found.found.startswith("1.0 of ")
        assert "times as long" in found.found


def test_what_cannot_be_known_is_skipped_and_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    asked = []

    def look(paths: object) -> Forecast:
        asked.append(paths)
        return FOUND

    monkeypatch.setattr(costs, "forecast", look)
    checks = costs.checks()
    assert run_check(checks["cost"]).status == "pass"
    assert run_check(checks["advice"]).status == "pass"
    assert len(asked) == 1
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run_check(costs.checks()["advice"]).status == "skipped"
