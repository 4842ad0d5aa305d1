"""Stored decisions in words."""

from typing import Any

from components.core.evaluation.changes import Change
from components.io.reports.summary import DecisionSummary, summarize
from tests import factories


def summary_of(
    verdict: str = "blocked",
    confusion: Any = ((190, 10), (40, 93)),
    class_names: Any = ("dent", "scratch"),
    changes: list[Change] | None = None,
    **fields: Any,
) -> DecisionSummary:
    """Of version 3 of `cells`; `fields` are those of the record."""
    predictions = factories.predictions_of(confusion, list(class_names))
    record = factories.decision_record(verdict, **fields)
    return summarize(record, predictions, changes or [])
