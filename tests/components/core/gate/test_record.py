"""Records of schema version 1, as a registry of that version holds them, are read."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components.core.gate.policy import GatePolicy
from components.core.gate.record import DecisionRecord
from tests import factories

FOLDER = Path(__file__).parent / "version_1"
FILES = {number: FOLDER / f"{number}.json" for number in range(1, 7)}
FILES[3] = FOLDER / "run_3/decision.json"


def raw_of(number: int) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(FILES[number].read_text())
    return raw


def read(number: int) -> DecisionRecord:
    return DecisionRecord.model_validate_json(FILES[number].read_bytes())


@pytest.mark.parametrize("number", FILES)
def test_a_record_of_version_1_keeps_all_that_it_says(number: int) -> None:
    old, new = raw_of(number), read(number)
    assert new == DecisionRecord.model_validate(old)
    assert new.schema_version == 2
    assert new.outcome.accuracy is None
    assert new.outcome.first_model == old["decision"]["first_model"]
    texts = [(c["value"], c["wanted"], c["reason"]) for c in old["decision"]["checks"]]
    assert [(c.value, c.threshold, c.message) for c in new.outcome.checks] == texts
    assert sorted(map(repr, new.policy.model_dump().values())) == sorted(
        map(repr, old["policy"].values())
    )
    assert new.evidence.previous_test_uses == old["evidence"]["earlier_uses"]
    assert new.evidence.leaked_test_images == old["evidence"]["shared_with_training"]
    assert new.evidence.revoked_reason == old["evidence"]["withdrawn"]
    assert new.data_diff.examples["relabeled"] == old["data_diff"]["examples"]["relabelled"]
    assert (new.model_name, new.version) == (old["model_name"], old["version"])


def test_verdicts_of_version_1_have_the_new_words() -> None:
    verdicts = [read(number).outcome.verdict for number in range(1, 7)]
    assert verdicts == ["passed", "passed", "blocked", "blocked", "blocked", "error"]


def test_checks_of_version_1_have_the_new_names_and_statuses() -> None:
    assert [(check.name, check.status) for check in read(3).outcome.checks] == [
        ("champion", "fail"),
        ("revocation", "fail"),
        ("test-set reuse", "warn"),
        ("data leakage", "pass"),
        ("test images", "pass"),
        ("test images per class", "pass"),
        ("prediction diversity", "pass"),
        ("accuracy", "pass"),
        ("macro F1", "pass"),
        ("class recall", "pass"),
        ("calibration", "skipped"),
        ("per-class regression", "pass"),
        ("implausible result", "skipped"),
        ("model size", "pass"),
        ("latency", "skipped"),
        ("evidence", "pass"),
    ]


def test_a_first_model_of_version_1_skipped_its_comparisons() -> None:
    statuses = {check.name: check.status for check in read(1).outcome.checks}
    assert statuses["champion"] == statuses["per-class regression"] == "skipped"


def test_a_champion_decided_on_again_skipped_the_comparison_with_itself() -> None:
    raw = raw_of(1)
    for check in raw["decision"]["checks"]:
        if check["name"] == "champion":
            check["wanted"] = "itself"
    statuses = {c.name: c.status for c in DecisionRecord.model_validate(raw).outcome.checks}
    assert statuses["champion"] == "skipped"


@pytest.mark.parametrize("section", ["decision", "evidence", "policy", "data_diff"])
@pytest.mark.parametrize("broken", [None, 7, {}, {"verdict": "maybe", "checks": []}], ids=repr)
def test_a_broken_record_of_version_1_is_refused(section: str, broken: object) -> None:
    with pytest.raises(ValidationError):
        DecisionRecord.model_validate(raw_of(2) | {section: broken})
    without = raw_of(2)
    del without[section]
    with pytest.raises(ValidationError):
        DecisionRecord.model_validate(without)


def test_a_name_of_version_1_in_a_record_of_version_2_is_refused() -> None:
    with pytest.raises(ValidationError):
        DecisionRecord.model_validate(raw_of(2) | {"schema_version": 2})
    with pytest.raises(ValidationError):
        DecisionRecord.model_validate(factories.decision_record().model_dump() | {"decision": {}})


def test_a_record_is_read_as_it_was_written() -> None:
    record = factories.decision_record("blocked", version=None)
    assert DecisionRecord.model_validate_json(record.model_dump_json()) == record


def test_what_is_no_record_at_all_is_refused() -> None:
    with pytest.raises(ValidationError):
        DecisionRecord.model_validate_json("[1]")


def test_all_settings_of_the_gate_are_described() -> None:
    assert all(field.description for field in GatePolicy.model_fields.values())
