"""The verbs about decisions, on a real MLflow store."""

import json
from pathlib import Path

import pytest

from components.tracking.store import Store
from pipeline.__main__ import main
from tests.services.actors import NAME
from tests.services.cases import judge, promoted

pytestmark = pytest.mark.usefixtures("verified")

MODEL = ["--model", NAME]
MOVE = [*MODEL, "--yes", "--reason", "because"]


Capture = pytest.CaptureFixture[str]


def test_status_of_nothing_says_none(opened: Store, capsys: Capture) -> None:
    assert main(["status", *MODEL]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cells: 0 records in the journal", "champion  none", "previous  none", "candidate none",
    ]  # fmt: skip


def test_status_names_each_role_with_verdict_number_date_and_person(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    promoted(opened, tmp_path, "a")
    promoted(opened, tmp_path, "b")
    judge(opened, tmp_path, "c", "hold")
    assert main(["status", *MODEL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("champion  version 2  PROMOTE 0.500 accuracy  by the gate 20")
    assert " UTC anna@" in lines[1]
    assert lines[2].startswith("previous  version 1  ")
    assert lines[3].startswith("candidate version 3  HOLD 0.500 accuracy  judged ")
    assert main(["status", *MODEL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["champion"]["version"] == "2"
    assert found["champion"]["model_digest"] == "b"
    assert found["faults"] == []


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_status_finds_an_alias_moved_by_hand(
    alias: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    promoted(opened, tmp_path, "a")
    promoted(opened, tmp_path, "b")
    other = judge(opened, tmp_path, "c", "hold")
    opened.client.set_registered_model_alias(NAME, alias, other)
    assert main(["status", *MODEL]) == 3
    assert f"! `{alias}` was moved by hand: the journal says" in capsys.readouterr().out
    assert main(["rollback", "--to", "2", *MOVE]) == 0
    assert main(["status", *MODEL]) == (0 if alias == "champion" else 3)


def test_status_finds_a_champion_without_a_record(opened: Store, capsys: Capture) -> None:
    opened.client.create_registered_model(NAME)
    opened.client.create_model_version(NAME, "/nowhere")
    opened.client.set_registered_model_alias(NAME, "champion", "1")
    assert main(["status", *MODEL]) == 3
    assert "nobody recorded that it became it" in capsys.readouterr().out


def test_history_lists_every_record_and_says_that_the_chain_holds(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    promoted(opened, tmp_path, "a")
    held = judge(opened, tmp_path, "b", "hold")
    assert main(["approve", held, *MOVE]) == 0
    capsys.readouterr()
    assert main(["history", *MODEL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[22:33].strip() for line in lines[1:-1]] == [
        "decided", "promoting", "promoted", "decided", "promoting", "promoted",
    ]  # fmt: skip
    assert lines[-2].endswith("approved: because")
    assert lines[-1] == "6 records, each with the hash of the one before: unbroken"
    assert main(["history", *MODEL, "--json"]) == 0
    assert [r["seq"] for r in json.loads(capsys.readouterr().out)] == [1, 2, 3, 4, 5, 6]


def test_review_shows_the_candidate_with_its_reasons_and_changed_answers(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    promoted(opened, tmp_path, "a")
    held = judge(opened, tmp_path, "b", "hold")
    assert main(["review", *MODEL]) == 3
    text = capsys.readouterr().out
    assert text.startswith("cells version 2: HOLD 0.500 accuracy on 4 test images")
    assert "HOLD  accuracy" in text
    assert "        because\n" in text
    assert "2 newly wrong: good/2.png, good/3.png\n1 newly right: good/0.png\n" in text
    assert f'to approve: python -m pipeline approve {held} --reason "..."' in text
    assert main(["review", *MODEL, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["changes"]["newly wrong"] == ["good/2.png", "good/3.png"]
    assert found["decision"]["verdict"] == "hold"


@pytest.mark.parametrize(
    ("verdict", "code", "words"),
    [("promote", 0, "it passed; it is not champion"), ("error", 3, "cannot be approved")],
)
def test_review_exits_by_the_verdict(
    verdict: str, code: int, words: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    number = judge(opened, tmp_path, "a", verdict)
    assert main(["review", number, *MODEL]) == code
    assert words in capsys.readouterr().out


def test_review_of_the_champion_exits_with_0_though_it_was_held(
    opened: Store, tmp_path: Path
) -> None:
    held = judge(opened, tmp_path, "a", "hold")
    assert main(["approve", held, *MOVE]) == 0
    assert main(["review", held, *MODEL]) == 0


@pytest.mark.parametrize("file", ["decision.json", "evaluation.json", "predictions.parquet"])
def test_evidence_that_was_changed_is_refused(
    file: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    promoted(opened, tmp_path, "a")
    held = judge(opened, tmp_path, "b", "hold")
    run = opened.client.get_run(str(opened.client.get_model_version(NAME, held).run_id))
    with (Path(run.info.artifact_uri) / "register" / file).open("ab") as stored:
        stored.write(b" ")
    assert main(["review", held, *MODEL]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    if file == "decision.json":
        assert main(["approve", held, *MOVE]) == 1


def test_a_version_that_nobody_judged_cannot_be_reviewed(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["review", *MODEL]) == 1
    assert "there is no candidate yet" in capsys.readouterr().err
    judge(opened, tmp_path, "a", "hold")
    assert main(["review", "7", *MODEL]) == 1
    assert "version 7 does not exist or was never judged; judged are 1." in capsys.readouterr().err


def test_the_name_comes_from_params_unless_it_is_given(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("solar-cells: 0 records")
