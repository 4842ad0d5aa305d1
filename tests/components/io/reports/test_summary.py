"""A decision in words: the same for the page, for MLflow and for the terminal."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.core.errors import ChangedInput, MissingInput
from components.core.evaluation.changes import Change, find_changes
from components.io import files
from components.io.data.predictions import to_parquet
from components.io.reports.summary import describe_data_diff, read_summary, show_value, summarize
from tests import factories
from tests.components.core.gate.conftest import model_and_champion
from tests.components.io.reports.conftest import summary_of
from tests.factories import champion_evidence, data_diff, decision_record, evidence, outcome

VERSION_1 = Path(__file__).parents[2] / "core/gate/version_1"

CHECKS = [
    factories.check("accuracy", "fail", message="accuracy is low"),
    factories.check("test-set reuse", "warn", value=12, threshold="<= 20", message="collect more"),
    factories.check("test images", value=1333, threshold=">= 200", message="enough"),
    factories.check(
        "latency", "skipped", value=None, threshold="no bound", message="no bound is set"
    ),
]


def change(kind: Any, number: int) -> Change:
    return Change(kind, f"{number}.png", "dent", "dent", "scratch", 0.9)


@pytest.mark.parametrize("verdict", ["passed", "blocked", "error"])
def test_the_headline_begins_with_verdict_and_accuracy(verdict: str) -> None:
    expected = f"{verdict} 0.778 accuracy on 333 test images (95 %: 0.730 to 0.819)"
    assert summary_of(verdict).headline == expected


def test_an_accuracy_that_the_record_lacks_is_computed_from_the_predictions() -> None:
    summary = summary_of(outcome=outcome("passed", accuracy=None))
    assert summary.headline == "passed 0.850 accuracy on 333 test images (95 %: 0.808 to 0.884)"


def test_findings_are_what_failed_or_warns() -> None:
    summary = summary_of(outcome=outcome("blocked", checks=CHECKS))
    assert summary.findings == ["accuracy is low", "collect more"]
    assert [check.name for check in summary.checks] == [check.name for check in CHECKS]


@pytest.mark.parametrize(
    ("verdict", "version", "is_champion", "commands"),
    [
        ("blocked", "3", False, ["approve 3 --reason", "reject 3 --reason"]),
        ("blocked", "3", True, []),
        ("blocked", None, False, ["dvc exp apply NAME", "dvc repro"]),
        ("passed", "3", False, ["python -m pipeline status"]),
        ("passed", "3", True, []),
        ("passed", None, False, ["dvc exp apply NAME", "dvc repro"]),
        ("error", "3", False, ["dvc repro register"]),
        ("error", None, False, ["dvc repro register"]),
    ],
)
def test_what_to_do_next_follows_from_verdict_and_registration(
    verdict: str, version: str | None, is_champion: bool, commands: list[str], tmp_path: Path
) -> None:
    predictions = factories.predictions_of([[3, 1], [1, 4]])
    files.write_bytes(tmp_path / "predictions.parquet", to_parquet(predictions))
    digest = files.digest_file(tmp_path / "predictions.parquet")
    record = decision_record(verdict, version=version, evidence=evidence(predictions_sha256=digest))
    files.write_artifact(tmp_path / "decision.json", record)
    step = read_summary(tmp_path / "decision.json", is_champion=is_champion).next_step
    assert step.text
    assert len(step.commands) == len(commands)
    assert all(part in command for part, command in zip(commands, step.commands, strict=True))


def test_weakest_class_and_most_frequent_mistake_are_the_weak_spots() -> None:
    assert summary_of().weak_spots == (
        "Weakest class: scratch, recall 0.699 (93 of 133). Most frequent mistake: scratch "
        "predicted as dent (40)."
    )


def test_without_mistakes_none_is_named() -> None:
    assert "mistake" not in summary_of(confusion=((5, 0), (0, 5))).weak_spots


def test_a_class_without_test_images_is_not_the_weakest() -> None:
    assert "class: scratch," in summary_of(confusion=((0, 0), (3, 5))).weak_spots


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("none", "There is no champion yet"),
        ("same", "This model is the champion"),
        ("other_classes", "it also knows cat"),
        ("unusable", "no weights"),
        ("compared", f"Against the champion {'c' * 12} on the same test images: 2 newly right, 1"),
    ],
)
def test_the_comparison_or_why_there_is_none_is_a_sentence(state: str, words: str) -> None:
    kinds = ["newly wrong", "newly right", "newly right"] if state == "compared" else []
    changes = [change(kind, number) for number, kind in enumerate(kinds)]
    found = summary_of(evidence=evidence(champion=champion_evidence(state)), changes=changes)
    assert words in found.comparison
    assert "\n" not in found.comparison


def test_changed_paths_are_listed_by_kind() -> None:
    changes = [change("newly wrong", 1), change("newly wrong", 2), change("newly right", 3)]
    assert summary_of(changes=changes).changed_paths() == {
        "newly wrong": ["1.png", "2.png"],
        "newly right": ["3.png"],
    }


def test_how_the_data_differ_is_one_sentence() -> None:
    shift = {"name": "dent", "before": 0.25, "now": 0.4}
    grown = data_diff(baseline="b" * 64, added=1200, moved=3, largest_shift=shift)
    assert describe_data_diff(grown) == (
        "Since the champion's data: 1,200 added, 3 moved between splits; dent was 25.0% of the "
        "images, is 40.0%."
    )
    same = data_diff(baseline="b" * 64, unchanged=7)
    assert describe_data_diff(same) == "Since the champion's data: nothing changed."
    assert describe_data_diff(data_diff()) == "No champion's data to compare with."


@pytest.mark.parametrize(
    ("value", "threshold", "shown"),
    [
        (0.0832, "<= 0.1", "0.083"),
        (0.91249, ">= 0.9125", "0.9125"),
        (1333.0, ">= 200", "1,333"),
        (44.78, "<= 100", "44.780"),
        (0.9174, "accuracy <= 0.999, gain <= 0.25", "0.917"),
        (None, "complete", ""),
    ],
)
def test_values_have_the_digits_that_matter(
    value: float | None, threshold: str, shown: str
) -> None:
    assert show_value(factories.check(value=value, threshold=threshold)) == shown


def test_the_terminal_gets_everything_in_lines() -> None:
    changes = [change("newly wrong", number) for number in range(7)]
    compared = evidence(champion=champion_evidence("compared"))
    decided = outcome("blocked", checks=CHECKS)
    lines = summary_of(outcome=decided, evidence=compared, changes=changes).terminal_lines()
    assert lines == [
        "cells version 3: blocked 0.778 accuracy on 333 test images (95 %: 0.730 to 0.819)",
        "  fail    accuracy                    0.731  >= 0.700",
        "          accuracy is low",
        "  warn    test-set reuse                 12  <= 20",
        "          collect more",
        "  pass    test images                 1,333  >= 200",
        "  skipped latency                            no bound",
        (
            "Weakest class: scratch, recall 0.699 (93 of 133). Most frequent mistake: scratch "
            "predicted as dent (40)."
        ),
        "Against the champion cccccccccccc on the same test images: 0 newly right, 7 newly wrong.",
        "newly wrong: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more",
        "No champion's data to compare with.",
        (
            "A person decides: run one of these, or set the tag `review` of this version to "
            "`approved` or `rejected`, its tag `review.reason` to why, and run "
            "`python -m pipeline sync`."
        ),
        '  python -m pipeline approve 3 --reason "..."',
        '  python -m pipeline reject 3 --reason "..."',
    ]


def store_version_1(folder: Path) -> Path:
    """A decision of version 1 with its evidence, as a run's artifacts hold it."""
    return Path(shutil.copytree(VERSION_1 / "run_3", folder / "run"))


def test_a_stored_decision_of_version_1_is_summarized_with_its_accuracy(tmp_path: Path) -> None:
    summary = read_summary(store_version_1(tmp_path) / "decision.json")
    assert summary.title == "cells version 3"
    assert summary.headline == "blocked 0.889 accuracy on 36 test images (95 %: 0.747 to 0.956)"
    assert len(summary.changed_paths()["newly wrong"]) == 4


@pytest.mark.parametrize("name", ["predictions.parquet", "champion.parquet"])
def test_evidence_that_is_gone_or_changed_is_named(name: str, tmp_path: Path) -> None:
    folder = store_version_1(tmp_path)
    (folder / name).write_bytes(b"changed")
    with pytest.raises(ChangedInput, match=name):
        read_summary(folder / "decision.json")
    (folder / name).unlink()
    with pytest.raises(MissingInput, match=name):
        read_summary(folder / "decision.json")


def test_the_example_of_version_1_is_of_version_1() -> None:
    assert json.loads((VERSION_1 / "run_3/decision.json").read_text())["schema_version"] == 1


def test_images_that_the_champion_has_seen_are_a_warning() -> None:
    found, champion = model_and_champion(2, 3, 200, right=150)
    champion = champion.among(champion.paths[1:])
    state = factories.champion_evidence("compared", seen_test_images=1)
    record = factories.decision_record(evidence=factories.evidence(champion=state))
    text = summarize(record, found, find_changes(found, champion)).comparison
    assert "1 newly right, 3 newly wrong." in text
    assert "Warning: 1 of the test images were in the champion's train or val split" in text
    all_seen = factories.champion_evidence("all_seen", seen_test_images=9)
    record = factories.decision_record(evidence=factories.evidence(champion=all_seen))
    assert "learned from all of these test images" in summarize(record, found).comparison
