"""What a page says about a decision: what the gate found, and which predictions changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from components.core.evaluation.changes import KINDS, Change, Kind
from components.core.gate.policy import GatePolicy
from components.core.gate.record import DecisionRecord
from components.io.reports.summary import DecisionSummary

# What got worse weighs more than what got better.
_GALLERY: dict[Kind, int] = {"newly wrong": 24, "newly right": 12}


def gallery(changes: Iterable[Change]) -> list[Change]:
    """Those shown as images: up to 24 newly wrong, then 12 newly right, most confident first."""
    ranked = sorted(changes, key=lambda change: (-change.confidence, change.path))
    return [
        change
        for kind, limit in _GALLERY.items()
        for change in [found for found in ranked if found.kind == kind][:limit]
    ]


def decision_values(record: DecisionRecord, summary: DecisionSummary) -> dict[str, Any]:
    """What the templates of a decision show, by the names that they use.

    Args:
        record: what was decided.
        summary: of `record`.
    """
    shown = gallery(summary.changes)
    return {
        "record": record,
        "summary": summary,
        "notable": [check for check in summary.checks if check.notable],
        "counts": {kind: len(paths) for kind, paths in summary.changed_paths().items()},
        "shown": {kind: [c for c in shown if c.kind == kind] for kind in KINDS},
        "digests": _digests(record),
        "policy": _bounds(record.policy),
    }


def _digests(record: DecisionRecord) -> dict[str, str]:
    evidence, champion = record.evidence, record.evidence.champion
    digests = {
        "model": evidence.model_digest,
        "data": evidence.data_digest,
        "test images": evidence.test_digest,
        "evaluation": evidence.evaluation_sha256,
        "predictions": evidence.predictions_sha256,
        "champion": champion.model_digest,
        "champion's predictions": champion.predictions_sha256,
        "champion's data": record.data_diff.baseline,
    }
    return {name: digest for name, digest in digests.items() if digest}


def _bounds(policy: GatePolicy) -> list[tuple[str, str, str]]:
    """Name, value and meaning of every setting of the gate."""
    values = policy.model_dump()
    return [
        (name, _to_text(values[name]), field.description or "")
        for name, field in GatePolicy.model_fields.items()
    ]


def _to_text(value: object) -> str:
    if value is None:
        return "no bound"
    return f"{value:g}" if isinstance(value, float) else str(value)
