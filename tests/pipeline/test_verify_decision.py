"""Decisions of schema version 1 are verified by their verdict, check names, values and statuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.core.errors import ChangedInput, MissingInput
from components.core.gate.decide import decide
from components.core.gate.record import DecisionRecord
from components.io import files
from components.io.data.predictions import read_evidence
from pipeline.verify_decision import verify

VERSION_1 = Path(__file__).parents[1] / "components/core/gate/version_1/run_3"


@pytest.fixture
def decision(tmp_path: Path) -> Path:
    """A blocked decision of version 1 with its evidence."""
    return Path(shutil.copytree(VERSION_1, tmp_path / "run")) / "decision.json"


def edit(decision: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(decision.read_text())
    change(content)
    decision.write_text(json.dumps(content))


def test_a_decision_of_version_1_is_recomputed(decision: Path) -> None:
    assert "blocked, schema version 1, recomputed from 36 predictions" in verify(decision)


def test_its_words_are_not_compared_and_the_message_says_so(decision: Path) -> None:
    edit(decision, lambda raw: raw["decision"]["checks"][0].update(reason="other words"))
    assert verify(decision).endswith("words not compared")


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw["decision"].update(verdict="promote"),
        lambda raw: raw["decision"]["checks"][0].update(verdict="promote"),
        lambda raw: raw["decision"]["checks"][0].update(value=0.0),
        lambda raw: raw["decision"]["checks"][0].update(name="leak"),
        lambda raw: raw["decision"]["checks"].pop(),
        lambda raw: raw["policy"].update(margin=0.3),
    ],
)
def test_another_verdict_name_value_or_status_is_refused(
    decision: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(decision, change)
    with pytest.raises(ChangedInput, match="dvc repro register"):
        verify(decision)


def test_an_error_that_only_version_1_found_is_left_as_it_is(decision: Path) -> None:
    check = {
        "name": "evidence",
        "value": None,
        "wanted": "complete and consistent",
        "verdict": "error",
        "reason": "accuracy is stated as 0.5",
    }
    error = {"verdict": "error", "first_model": False, "checks": [check]}
    edit(decision, lambda raw: raw.update(decision=error))
    found = verify(decision)
    assert "cannot be recomputed" in found
    assert "accuracy is stated as 0.5" in found


def test_of_version_2_every_byte_counts_but_words_that_were_others_then(decision: Path) -> None:
    record = files.read_artifact(decision, DecisionRecord)
    outcome = decide(record.policy, record.evidence, *read_evidence(decision, record))
    files.write_artifact(decision, record.model_copy(update={"outcome": outcome}))
    assert verify(decision).endswith("same bytes")
    text = decision.read_text()
    words = '"no bound is set"'
    assert words in text
    decision.write_text(text.replace(words, '"not measured; no bound is set"'))
    assert verify(decision).endswith("same bytes")
    decision.write_text(text.replace(words, '"no bound was set"'))
    with pytest.raises(ChangedInput, match="or other words"):
        verify(decision)


@pytest.mark.parametrize("name", ["evaluation.json", "predictions.parquet", "champion.parquet"])
def test_evidence_that_was_changed_or_is_gone_is_named(decision: Path, name: str) -> None:
    file = decision.parent / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ChangedInput, match=name):
        verify(decision)
    file.unlink()
    with pytest.raises(MissingInput, match=name):
        verify(decision)
