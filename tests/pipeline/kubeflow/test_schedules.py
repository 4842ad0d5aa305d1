"""Recurring runs, through the real SDK, on a server that speaks the API of Kubeflow Pipelines."""

import pytest

from components.core.errors import InvalidParams
from pipeline.doctor import cluster as doctor
from pipeline.doctor.check import CheckResult
from pipeline.kubeflow import schedules
from pipeline.kubeflow.client import Server
from pipeline.kubeflow.schedules import Schedule
from pipeline.kubeflow.versions import Version
from tests.pipeline.kfp_server import Kubeflow

VERSION = Version("p1", "v1")
SOURCE = {"repository": "https://git.example.org/cells.git", "branch": "main"}


@pytest.mark.parametrize(
    "text",
    [
        "0 3 * * 1",
        "*/15 0-6,18-23 1,15 * *",
        "0 0 31 12 6",
        "5 4 * JAN-mar Mon,fri",
        "0-30/10 * * * *",
    ],
)
def test_cron_expressions_are_taken_as_they_are(text: str) -> None:
    assert schedules.require_cron(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("weekly", "has 1 fields"),
        ("0 0 3 * * 1", "has 6 fields"),
        ("60 3 * * 1", "has the minute '60'"),
        ("0 24 * * 1", "has the hour '24'"),
        ("0 3 0 * *", "has the day '0'"),
        ("0 3 * 13 *", "has the month '13'"),
        ("0 3 * * 7", "has the weekday '7'"),
        ("0 3 * * FUN", "has the weekday 'FUN'"),
        ("0 3 * * 5-2", "has the weekday '5-2'"),
        ("*/0 3 * * 1", "has the minute '*/0'"),
        ("0 3, * * 1", "has the hour '3,'"),
    ],
)
def test_what_is_no_cron_expression_is_refused_by_its_field(text: str, found: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        schedules.require_cron(text)
    assert str(raised.value) == (
        f"--every {text!r}: {found}; it should be minute, hour, day, month, weekday, e.g. "
        "'0 3 * * 1' for Mondays at 3, or 'never'."
    )


def test_a_second_schedule_replaces_the_first_and_never_removes_it(
    kfp: Kubeflow,
) -> None:
    server = Server(kfp.url)
    schedules.replace(server, VERSION, "cells", SOURCE, "0 3 * * 1")
    other = {**SOURCE, "branch": "next"}
    schedules.replace(server, VERSION, "cells", other, "0 4 * * *")
    schedules.replace(server, VERSION, "solar", SOURCE, "0 5 * * *")
    schedules.replace(server, VERSION, "cells", SOURCE, "0 3 * * 2")
    assert schedules.read(server) == [
        Schedule("recurring-2", "cells", "next", "0 4 * * *", enabled=True),
        Schedule("recurring-3", "solar", "main", "0 5 * * *", enabled=True),
        Schedule("recurring-4", "cells", "main", "0 3 * * 2", enabled=True),
    ]
    posted = kfp.schedules[-1]
    assert posted["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 2"
    assert posted["runtime_config"]["parameters"] == SOURCE
    facts = {"display_name": "cells main", "max_concurrency": 1, "no_catchup": True}
    assert {name: posted[name] for name in facts} == facts
    assert (posted["mode"], posted["service_account"]) == ("ENABLE", "pipeline-run")
    expected = {"pipeline_id": "p1", "pipeline_version_id": "v1"}
    assert posted["pipeline_version_reference"] == expected

    assert schedules.remove(server, "cells", "main") == 1
    assert schedules.remove(server, "cells", "main") == 0
    assert [each.id for each in schedules.read(server)] == ["recurring-2", "recurring-3"]


def test_recurring_runs_of_other_pipelines_are_left_alone(kfp: Kubeflow) -> None:
    cron = {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    kfp.schedules = [
        {"recurring_run_id": "a", "display_name": "cells main", "trigger": cron},
        {"recurring_run_id": "b", "display_name": "x", "runtime_config": {"parameters": {"n": 1}}},
        {
            "recurring_run_id": "c",
            "display_name": "cells main",
            "trigger": cron,
            "runtime_config": {"parameters": SOURCE},
            "status": "DISABLED",
        },
    ]
    server = Server(kfp.url)
    assert schedules.read(server) == [Schedule("c", "cells", "main", "0 3 * * 1", enabled=False)]
    schedules.remove(server, "cells", "main")
    assert [each["recurring_run_id"] for each in kfp.schedules] == ["a", "b"]


def test_doctor_lists_them_and_names_what_somebody_switched_off(kfp: Kubeflow) -> None:
    assert doctor.recurring(kfp.url) == CheckResult("pass", "no branch is run by itself")
    server = Server(kfp.url)
    schedules.replace(server, VERSION, "cells", SOURCE, "0 3 * * 1")
    schedules.replace(server, VERSION, "cells", {**SOURCE, "branch": "next"}, "0 4 * * *")
    found = "cells: main at '0 3 * * 1'; cells: next at '0 4 * * *'"
    assert doctor.recurring(kfp.url) == CheckResult("pass", found)
    kfp.schedules[1]["status"] = "DISABLED"
    result = doctor.recurring(kfp.url)
    assert (result.status, result.found) == ("warn", "cells: next at '0 4 * * *'")
    assert "submit --branch NAME --every CRON" in result.hint
