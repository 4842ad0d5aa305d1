"""The commands that read the registry, on a real MLflow store."""

import json
import sys
from pathlib import Path

import pytest

from components.tracking.store import Store
from pipeline.cli import main
from tests.pipeline.cli.test_tables import Terminal
from tests.registry import NAME, add_evaluated, add_promoted

pytestmark = pytest.mark.usefixtures("verified")

MODEL = ["--model", NAME]
MOVE = [*MODEL, "--yes", "--reason", "because"]


Capture = pytest.CaptureFixture[str]


def cells(line: str) -> list[str]:
    """Of a row of a table."""
    return [cell for cell in line.split("  ") if cell]


def test_status_of_nothing_says_none(opened: Store, capsys: Capture) -> None:
    assert main(["status", *MODEL]) == 0
    first, _, *rows = capsys.readouterr().out.splitlines()
    assert first == "cells: no event in the audit log"
    assert [row.split() for row in rows] == [
        ["champion", "none"], ["previous", "none"], ["candidate", "none"],
    ]  # fmt: skip


def test_status_names_each_alias_with_verdict_number_date_and_person(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    add_promoted(opened, tmp_path, "b")
    add_evaluated(opened, tmp_path, "c", "blocked")
    assert main(["status", *MODEL]) == 0
    rows = [list(map(str.strip, cells(line))) for line in capsys.readouterr().out.splitlines()[2:5]]
    assert [row[:4] for row in rows] == [
        ["champion", "2", "passed 0.500 accuracy", "by the gate"],
        ["previous", "1", "passed 0.500 accuracy", "by the gate"],
        ["candidate", "3", "blocked 0.500 accuracy", "evaluated"],
    ]
    assert all(row[4].startswith("20") and row[5].startswith("anna@") for row in rows)
    assert main(["status", *MODEL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["champion"]["version"] == "2"
    assert found["champion"]["model_digest"] == "b"
    assert found["problems"] == []


@pytest.mark.row("P21")
@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_status_finds_an_alias_moved_by_hand(
    alias: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    add_promoted(opened, tmp_path, "b")
    other = add_evaluated(opened, tmp_path, "c", "blocked")
    opened.client.set_registered_model_alias(NAME, alias, other)
    assert main(["status", *MODEL]) == 3
    assert f"! `{alias}` was moved by hand: the audit log says" in capsys.readouterr().out
    assert main(["rollback", "--to", "2", *MOVE]) == 0
    assert main(["status", *MODEL]) == (0 if alias == "champion" else 3)


@pytest.mark.row("P17")
@pytest.mark.parametrize(("alias", "code"), [("Champion", 3), ("PREVIOUS", 3), ("challenger", 0)])
def test_status_finds_an_alias_that_looks_like_ours(
    alias: str, code: int, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    number = add_promoted(opened, tmp_path, "a")
    opened.client.set_registered_model_alias(NAME, alias, number)
    assert main(["status", *MODEL]) == code
    assert (f"! the alias `{alias}` (version 1) is none of" in capsys.readouterr().out) is (
        code > 0
    )


@pytest.mark.row("P17")
@pytest.mark.parametrize("name", ["latest", "v3", "V12"])
def test_what_mlflow_reserves_is_no_alias(name: str, opened: Store, tmp_path: Path) -> None:
    from mlflow.exceptions import MlflowException

    number = add_promoted(opened, tmp_path, "a")
    with pytest.raises(MlflowException, match="alias"):
        opened.client.set_registered_model_alias(NAME, name, number)


def test_status_finds_a_champion_without_an_event(opened: Store, capsys: Capture) -> None:
    opened.client.create_registered_model(NAME)
    opened.client.create_model_version(NAME, "/nowhere")
    opened.client.set_registered_model_alias(NAME, "champion", "1")
    assert main(["status", *MODEL]) == 3
    assert "the audit log has no promotion" in capsys.readouterr().out


def test_history_lists_every_event_and_says_that_the_chain_holds(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    assert main(["approve", blocked, *MOVE]) == 0
    capsys.readouterr()
    assert main(["history", *MODEL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cells(line)[2].strip() for line in lines[1:-1]] == [
        *("evaluated", "promotion started", "promotion completed") * 2,
    ]
    assert lines[-2].endswith("approved: because")
    assert lines[-1] == "6 events, each with the hash of the one before: unbroken"
    assert main(["history", *MODEL, "--json"]) == 0
    assert [r["seq"] for r in json.loads(capsys.readouterr().out)] == [1, 2, 3, 4, 5, 6]


def test_a_reason_of_many_lines_and_colors_stays_one_plain_line(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    version = add_evaluated(opened, tmp_path, "a", "blocked")
    opened.client.set_model_version_tag(NAME, version, "review", "rejected")
    opened.client.set_model_version_tag(NAME, version, "review.reason", "\x1b[31mred\n[bold]x")
    assert main(["sync", *MODEL]) == 0
    capsys.readouterr()
    assert main(["history", *MODEL]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-2].endswith("[31mred [bold]x")
    assert "\x1b" not in output


@pytest.mark.parametrize("command", ["status", "history", "review"])
def test_on_a_narrow_terminal_tables_wrap_and_lose_nothing(
    command: str, opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_promoted(opened, tmp_path, "a")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert main([command, *MODEL]) == 0
    text = terminal.getvalue()
    assert "\x1b[3" not in text
    tables = {"status": "previous", "history": "evaluated", "review": "threshold"}
    assert tables[command] in text
    assert "passed" in text


def test_review_shows_the_candidate_with_its_reasons_and_changed_predictions(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    assert main(["review", *MODEL]) == 3
    text = capsys.readouterr().out
    assert text.startswith("cells version 2: blocked")
    assert "because\n" in text
    assert "newly wrong: good/2.png, good/3.png\nnewly right: good/0.png\n" in text
    assert f'python -m pipeline approve {blocked} --reason "..."' in text
    assert main(["review", *MODEL, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["changes"]["newly wrong"] == ["good/2.png", "good/3.png"]
    assert found["outcome"]["verdict"] == "blocked"


@pytest.mark.parametrize(
    ("verdict", "code", "words"),
    [("passed", 0, "python -m pipeline status"), ("error", 3, "cannot be approved")],
)
def test_review_exits_by_the_verdict(
    verdict: str, code: int, words: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    version = add_evaluated(opened, tmp_path, "a", verdict)
    assert main(["review", version, *MODEL]) == code
    assert words in capsys.readouterr().out


def test_review_of_the_champion_exits_with_0_though_it_was_blocked(
    opened: Store, tmp_path: Path
) -> None:
    blocked = add_evaluated(opened, tmp_path, "a", "blocked")
    assert main(["approve", blocked, *MOVE]) == 0
    assert main(["review", blocked, *MODEL]) == 0


@pytest.mark.parametrize("file", ["decision.json", "evaluation.json", "predictions.parquet"])
def test_evidence_that_was_changed_is_refused(
    file: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    run = opened.client.get_run(str(opened.client.get_model_version(NAME, blocked).run_id))
    with (Path(run.info.artifact_uri) / "register" / file).open("ab") as stored:
        stored.write(b" ")
    assert main(["review", blocked, *MODEL]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    if file == "decision.json":
        assert main(["approve", blocked, *MOVE]) == 1


def test_a_version_that_was_never_evaluated_cannot_be_reviewed(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["review", *MODEL]) == 1
    assert "there is no candidate yet" in capsys.readouterr().err
    add_evaluated(opened, tmp_path, "a", "blocked")
    assert main(["review", "7", *MODEL]) == 1
    error = capsys.readouterr().err
    assert "version 7 does not exist or was never evaluated; evaluated are 1." in error


def test_the_name_comes_from_params_unless_it_is_given(opened: Store, capsys: Capture) -> None:
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("solar-cells: no event")
