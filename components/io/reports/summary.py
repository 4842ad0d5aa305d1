"""One summary of a decision: what the HTML page, MLflow's description and the terminal show.

Every number comes from the decision record and from the predictions that it names by digest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.core.data.data_diff import DataDiff
from components.core.evaluation import metrics
from components.core.evaluation.changes import KINDS, Change, Kind, find_changes
from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import measure_accuracy
from components.core.gate.policy import Verdict
from components.core.gate.record import Check, CheckStatus, DecisionRecord
from components.core.phrases import listing, short_digest
from components.io import files
from components.io.data.predictions import read_evidence

_EXAMPLES = 5  # paths of changed predictions in the terminal


class CheckRow(NamedTuple):
    """A check as a line of a table; `value` is empty when nothing was measured."""

    status: CheckStatus
    name: str
    value: str
    threshold: str
    message: str

    @property
    def notable(self) -> bool:
        """Whether a person should read its message."""
        return self.status in ("fail", "warn", "error")


class NextStep(NamedTuple):
    """What a person does now: a sentence, and the commands that it speaks of."""

    text: str
    commands: list[str]

    def lines(self) -> list[str]:
        """As plain lines."""
        return [self.text, *(f"  {command}" for command in self.commands)]


@dataclass(frozen=True, kw_only=True)
class DecisionSummary:
    """A decision in words, most important first.

    Attributes:
        title: model and version, e.g. "cells version 3".
        verdict: of the gate.
        headline: verdict, then accuracy with its 95 % interval.
        first_model: there was no champion to compare with.
        checks: in the order of the decision, failed ones first.
        next_step: what a person does now.
        weak_spots: weakest class and most frequent mistake, as sentences.
        comparison: with the champion, or why there is none; a sentence.
        changes: predictions that differ from the champion's, newly wrong ones first.
        data: how the data differ from the champion's; a sentence.
    """

    title: str
    verdict: Verdict
    headline: str
    first_model: bool
    checks: list[CheckRow]
    next_step: NextStep
    weak_spots: str
    comparison: str
    changes: Sequence[Change]
    data: str

    @property
    def findings(self) -> list[str]:
        """Messages of the checks that failed or warn."""
        return [check.message for check in self.checks if check.notable]

    def changed_paths(self) -> dict[Kind, list[str]]:
        """Test images that are newly wrong and newly right against the champion."""
        return {kind: [c.path for c in self.changes if c.kind == kind] for kind in KINDS}

    def terminal_lines(self) -> list[str]:
        """All of it as plain lines."""
        lines = [f"{self.title}: {self.headline}"]
        for check in self.checks:
            row = f"  {check.status:<8}{check.name:<23}{check.value:>10}  {check.threshold}"
            lines.append(row.rstrip())
            lines += [f"          {check.message}"] if check.notable else []
        return [*lines, *self.detail_lines(), *self.next_step.lines()]

    def detail_lines(self) -> list[str]:
        """Weak spots, changes against the champion and data as plain lines."""
        lines = [self.weak_spots, self.comparison]
        for kind, paths in self.changed_paths().items():
            lines += [f"{kind}: {listing(paths, _EXAMPLES)}"] if paths else []
        return [*lines, self.data]


def summarize(
    record: DecisionRecord,
    predictions: Predictions,
    changes: Sequence[Change] = (),
    *,
    is_champion: bool = False,
) -> DecisionSummary:
    """Put a decision into words.

    Args:
        record: what was decided.
        predictions: of the model, as the record names them.
        changes: against the champion; empty unless it was compared.
        is_champion: whether this version is champion now.
    """
    outcome, version = record.outcome, record.version
    return DecisionSummary(
        title=f"{record.model_name} version {version}" if version else record.model_name,
        verdict=outcome.verdict,
        headline=_headline(record, predictions),
        first_model=outcome.first_model,
        checks=[
            CheckRow(check.status, check.name, show_value(check), check.threshold, check.message)
            for check in outcome.checks
        ],
        next_step=_next_step(record, is_champion),
        weak_spots=_weak_spots(predictions),
        comparison=_comparison(record, changes),
        changes=changes,
        data=describe_data_diff(record.data_diff),
    )


def read_summary(decision: Path, *, is_champion: bool = False) -> DecisionSummary:
    """The summary of a stored decision.

    Args:
        decision: a decision.json with its evidence, as register or a run's artifacts hold them.
        is_champion: whether this version is champion now.

    Raises:
        MissingInput: evidence is absent.
        ChangedInput: evidence is not what was decided on.
    """
    record = files.read_artifact(decision, DecisionRecord)
    predictions, champion = read_evidence(decision, record)
    changes = find_changes(predictions, champion)
    return summarize(record, predictions, changes, is_champion=is_champion)


def _headline(record: DecisionRecord, predictions: Predictions) -> str:
    """Verdict and number first: lists of versions show only the first dozen characters."""
    found = record.outcome.accuracy or measure_accuracy(predictions)
    return (
        f"{record.outcome.verdict} {found.value:.3f} accuracy on {found.num_images:,} test images "
        f"(95 %: {found.low:.3f} to {found.high:.3f})"
    )


def show_value(check: Check) -> str:
    """With three digits, or as many as its threshold is written with; counts with none."""
    if check.value is None:
        return ""
    if check.value == int(check.value):
        return f"{check.value:,.0f}"
    digits = max([3, *map(len, re.findall(r"(?<=\.)\d+", check.threshold))])
    return f"{check.value:,.{digits}f}"


def _next_step(record: DecisionRecord, is_champion: bool) -> NextStep:
    version, verdict = record.version, record.outcome.verdict
    if verdict == "error":
        text = "No decision is possible, and an error cannot be approved. Fix the cause, then run:"
        return NextStep(text, ["dvc repro register"])
    if version is None:
        text = "Not registered, because this is a DVC experiment. To register the model, apply it:"
        return NextStep(text, ["dvc exp apply NAME", "dvc repro"])
    if is_champion:
        return NextStep(f"Version {version} is champion.", [])
    if verdict == "blocked":
        text = (
            "A person decides: run one of these, or set the tag `review` of this version to "
            "`approved` or `rejected`, its tag `review.reason` to why, and run "
            "`python -m pipeline sync`."
        )
        commands = [f'python -m pipeline {verb} {version} --reason "..."' for verb in _VERBS]
        return NextStep(text, commands)
    text = "It passed the gate, so there is nothing to approve. To see who is champion now:"
    return NextStep(text, ["python -m pipeline status"])


_VERBS = ("approve", "reject")


def _weak_spots(found: Predictions) -> str:
    """The class with the lowest recall and the most frequent mistake."""
    matrix = metrics.confusion(found.labels, found.predicted, len(found.class_names))
    weakest = metrics.weakest_first(metrics.class_metrics(matrix, found.class_names))[0]
    text = (
        f"Weakest class: {weakest.name}, recall {weakest.recall:.3f} "
        f"({round(weakest.recall * weakest.support):,} of {weakest.support:,})."
    )
    for true, predicted, images in metrics.most_confused(matrix, 1):
        names = found.class_names
        text += (
            f" Most frequent mistake: {names[true]} predicted as {names[predicted]} ({images:,})."
        )
    return text


def _comparison(record: DecisionRecord, changes: Sequence[Change]) -> str:
    champion = record.evidence.champion
    if champion.state == "none":
        return "There is no champion yet: nothing to compare with."
    if champion.state == "same":
        return "This model is the champion: nothing to compare with."
    if champion.state == "all_seen":
        return "The champion learned from all of these test images: nothing to compare on."
    if champion.state == "other_classes":
        return f"The champion knows other classes, so no comparison is possible: {champion.reason}."
    if champion.state == "unusable":
        return f"The champion cannot be used for a comparison: {champion.reason}"
    wrong = sum(change.kind == "newly wrong" for change in changes)
    return (
        f"Against the champion {short_digest(champion.model_digest)} on the same test images: "
        f"{len(changes) - wrong:,} newly right, {wrong:,} newly wrong.{_left_out(record)}"
    )


def _left_out(record: DecisionRecord) -> str:
    seen = record.evidence.champion.seen_test_images
    if not seen:
        return ""
    return (
        f" Warning: {seen:,} of the test images were in the champion's train or val split, so the "
        "comparison is without them."
    )


def describe_data_diff(diff: DataDiff) -> str:
    """How the data differ from the champion's, in one sentence."""
    if not diff.baseline:
        return "No champion's data to compare with."
    kinds = {
        "added": diff.added,
        "removed": diff.removed,
        "relabeled": diff.relabeled,
        "moved between splits": diff.moved,
    }
    found = [f"{count:,} {kind}" for kind, count in kinds.items() if count]
    text = f"Since the champion's data: {', '.join(found) or 'nothing changed'}"
    if (shift := diff.largest_shift) and shift.before != shift.now:
        text += f"; {shift.name} was {shift.before:.1%} of the images, is {shift.now:.1%}"
    return f"{text}."
