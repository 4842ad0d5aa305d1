"""What register leaves: decision and comparison as files, evidence in MLflow, printed lines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.data import data_diff
from components.core.data.data_diff import DataChange
from components.core.evaluation.changes import Change
from components.core.gate.record import DecisionRecord
from components.io import files
from components.io.data import predictions as prediction_table
from components.io.reports.summary import DecisionSummary, summarize
from components.register.champion import MANIFEST, ChampionComparison
from components.registry.champion import ChampionStatus
from components.registry.decisions import FOLDER

if TYPE_CHECKING:
    from components.register.candidate import Candidate
    from components.tracking.runs import Run


@dataclass(frozen=True, eq=False)
class EvaluatedCandidate:
    """A decision, and what it was made on.

    Attributes:
        status: of the champion at that moment.
        changes: predictions that differ from the champion's.
    """

    candidate: Candidate
    status: ChampionStatus
    comparison: ChampionComparison
    changes: list[Change]
    record: DecisionRecord

    def summary(self) -> DecisionSummary:
        """The decision in words."""
        return summarize(self.record, self.candidate.predictions, self.changes)


def write(evaluated: EvaluatedCandidate, decision: Path, comparison: Path) -> None:
    """Write the decision, and how predictions and data differ from the champion's.

    Args:
        evaluated: what was decided.
        decision: JSON to write.
        comparison: folder to replace.
    """
    files.write_artifact(decision, evaluated.record)
    with files.replacing_folder(comparison) as folder:
        rows = evaluated.comparison.data_changes
        files.write_csv(folder / "data_changes.csv", DataChange._fields, rows)
        files.write_csv(
            folder / "changes.csv",
            ("change", "path", "label", "champion", "model"),
            ((c.kind, c.path, c.label, c.champion, c.model) for c in evaluated.changes),
        )
        if evaluated.comparison.predictions is not None:
            table = prediction_table.to_parquet(evaluated.comparison.predictions)
            files.write_bytes(folder / "champion.parquet", table)


def keep_evidence(mlflow_run: Run, candidate: Candidate, decision: Path, comparison: Path) -> None:
    """Store what `verify-decision` and `review` need, and the manifest, with the model's run."""
    digest = files.digest_file(decision)
    if mlflow_run.tag("evidence") == digest:
        return
    for path in [decision, *sorted(comparison.iterdir()), *candidate.paths.evaluated]:
        mlflow_run.file(path, FOLDER)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / Path(MANIFEST).name
        data_diff.slim(candidate.manifest).to_parquet(table, index=False)
        mlflow_run.file(table, FOLDER)
    mlflow_run.tags({"evidence": digest})


def print_verdict(evaluated: EvaluatedCandidate) -> None:
    """Headline, findings, and how the data differ."""
    summary = evaluated.summary()
    say(summary.headline)
    for message in summary.findings:
        say(f"- {message}")
    if evaluated.record.evidence.champion.seen_test_images:
        say(summary.comparison)
    say(summary.data)


def print_next_step(evaluated: EvaluatedCandidate) -> None:
    """What a person does now."""
    step = evaluated.summary().next_step
    say(step.text)
    for command in step.commands:
        say(f"  {command}")


def say(line: str) -> None:
    """Print one line as this step's."""
    print(f"register  {line}", flush=True)
