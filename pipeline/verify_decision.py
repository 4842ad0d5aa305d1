"""Verify a decision: compute it again from the stored evidence and compare."""

from __future__ import annotations

import json
from pathlib import Path

from components.core.errors import ChangedInput
from components.core.gate.decide import decide
from components.core.gate.record import DecisionRecord, Outcome
from components.core.gate.version_1 import is_version_1
from components.core.phrases import short_digest
from components.io import files
from components.io.data.predictions import find_evidence, read_evidence

# A record keeps the words of its day: what a sentence says now, and what it said before.
_FORMER_WORDS = {"no bound is set": "not measured; no bound is set"}


def verify(decision: Path) -> str:
    """Compute the outcome again; return the sentence to print.

    A record of schema version 2 must come out the same to the byte, former words aside. Of
    version 1 the verdict and every check's name, value and status are compared, but not its words,
    which have changed.

    Args:
        decision: a decision.json, with evaluation.json, predictions.parquet and, after a
            comparison, champion.parquet where register left them or beside it.

    Raises:
        MissingInput: evidence is absent.
        ChangedInput: evidence was changed, or another outcome is computed.
    """
    record = files.read_artifact(decision, DecisionRecord)
    evaluation = find_evidence(decision, "evaluation.json")
    if (found := files.digest_file(evaluation)) != record.evidence.evaluation_sha256:
        raise ChangedInput(
            f"{evaluation}: has SHA-256 {short_digest(found)}, but {decision} was made with "
            f"{short_digest(record.evidence.evaluation_sha256)}; restore it with `dvc checkout`."
        )
    predictions, champion = read_evidence(decision, record)
    computed = decide(record.policy, record.evidence, predictions, champion)
    basis = f"{len(predictions.paths):,} predictions"
    text = decision.read_text(encoding="utf-8")
    if is_version_1(json.loads(text)):
        return _compare_version_1(decision, record.outcome, computed, basis)
    same = (computed, _in_former_words(computed))
    if text not in (files.to_json(record.model_copy(update={"outcome": each})) for each in same):
        raise _differs(decision, record.outcome, computed)
    return f"{decision}: {computed.verdict}, recomputed from {basis}, same bytes"


def _in_former_words(outcome: Outcome) -> Outcome:
    checks = [
        check.model_copy(update={"message": _FORMER_WORDS.get(check.message, check.message)})
        for check in outcome.checks
    ]
    return outcome.model_copy(update={"checks": checks})


def _compare_version_1(decision: Path, stored: Outcome, computed: Outcome, basis: str) -> str:
    start = f"{decision}: {stored.verdict}, schema version 1"
    if _numbers(stored) == _numbers(computed):
        return f"{start}, recomputed from {basis}, same verdict and checks; words not compared"
    if [(check.name, check.status) for check in stored.checks] == [("evidence", "error")]:
        # Version 1 also refused metrics in evaluation.json that the predictions contradict.
        return (
            f"{start}, cannot be recomputed ({stored.checks[0].message}); the digests of its "
            "evidence are right"
        )
    raise _differs(decision, stored, computed)


def _numbers(outcome: Outcome) -> tuple[str, list[tuple[str, float | None, str]]]:
    """Name, value and status: not the words. Version 1 had no `skipped`, so it equals `pass`."""
    checks: list[tuple[str, float | None, str]] = [
        (check.name, check.value, "pass" if check.status == "skipped" else check.status)
        for check in outcome.checks
    ]
    return outcome.verdict, checks


def _differs(decision: Path, stored: Outcome, computed: Outcome) -> ChangedInput:
    return ChangedInput(
        f"{decision}: says {stored.verdict}, but its evidence gives {computed.verdict} "
        f"({computed.checks[0].message}), or other words; the file was changed, or the gate was. "
        "Run `dvc repro register` to decide again."
    )
