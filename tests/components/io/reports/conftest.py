"""Stored decisions in words."""

from pathlib import Path
from typing import Any

import pandas as pd

from components.core.artifacts import MANIFEST_COLUMNS
from components.core.evaluation.changes import Change
from components.io.reports.run.files import RunFiles
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


def run_files(**changes: Any) -> RunFiles:
    """A run with validated data of two classes and nothing else; no image is there."""
    values: dict[str, Any] = {
        "images": Path("no/images"),
        "report": factories.validation_report(),
        "manifest": pd.DataFrame(columns=list(MANIFEST_COLUMNS), dtype=str),
    }
    empty = ("quarantine", "near_duplicates", "trials", "curves", "importance", "history")
    values |= {name: [] for name in (*empty, "errors", "reliability", "data_changes")}
    return RunFiles(**{**values, "heat_maps": {}, "costs": {}, **changes})
