"""The description of a model version: the page on which people decide."""

import re
from typing import NamedTuple

import numpy as np

from components.core.artifacts import Evaluation, ValidationReport
from components.core.data.data_diff import DataDiff
from components.core.evaluation.metrics import most_confused
from components.core.gate.record import Check, Decision, DecisionRecord

WORDS = {"promote": "PASS", "warn": "WARN", "hold": "HOLD", "error": "ERROR"}

# MLflow's database column holds 5,000.
LIMIT = 4500

_REASON, _NAME = 240, 60
_REASONS = 6


def headline(decision: Decision, evaluation: Evaluation) -> str:
    """Verdict and number first: lists of versions show only the first dozen characters."""
    metrics = evaluation.metrics
    return (
        f"{WORDS[decision.verdict]} {metrics.accuracy:.3f} accuracy on {metrics.num_images:,} test "
        f"images (95 %: {metrics.accuracy_low:.3f} to {metrics.accuracy_high:.3f})"
    )


class Changes(NamedTuple):
    """Test images that the champion answered correctly and this model does not, and the reverse."""

    newly_wrong: int
    newly_right: int


def describe(
    receipt: DecisionRecord,
    evaluation: Evaluation,
    report: ValidationReport,
    changes: Changes,
    *,
    lineage: dict[str, str],
    run_route: str,
) -> str:
    """Markdown of at most 4,500 characters: verdict, checks, weak spots, data, origin, what to do.

    Args:
        receipt: of a registered version.
        evaluation: what it was decided on.
        report: of the data.
        changes: against the champion; zeros without a comparison.
        lineage: tag -> value, e.g. git revision; shown as it is.
        run_route: the run's page inside the MLflow UI.
    """
    decision = receipt.decision
    table = ["| check | value | wanted | verdict |", "|---|---|---|---|"]
    notable = [check for check in decision.checks if check.verdict != "promote"]
    parts = [
        headline(decision, evaluation),
        "\n".join(f"- {_plain(check.reason, _REASON)}" for check in notable[:_REASONS]),
        "\n".join([*table, *map(_row, decision.checks)]),
        _to_do(receipt),
        _weak_spots(evaluation),
        _against_champion(receipt, changes),
        f"{_data(report)} {data_words(receipt.data_diff)}",
        _origin(lineage, run_route),
        _use(receipt),
    ]
    return "\n\n".join(part for part in parts if part)[:LIMIT]


def _to_do(receipt: DecisionRecord) -> str:
    if receipt.decision.verdict != "hold":
        return ""
    return (
        f'To approve: `python -m pipeline approve {receipt.version} --reason "..."`, or set the '
        "tag `review` of this version to `approved` and run `python -m pipeline sync`."
    )


def _use(receipt: DecisionRecord) -> str:
    uri = f"models:/{receipt.model_name}/{receipt.version}"
    return f'Use: `mlflow.pyfunc.load_model("{uri}").predict(["<image file in base64>"])`'


def _against_champion(receipt: DecisionRecord, changes: Changes) -> str:
    champion = receipt.evidence.champion
    if champion.state != "compared":
        return ""
    return (
        f"Against the champion `{_short(champion.model_digest)}`: {changes.newly_right:,} test "
        f"images newly right, {changes.newly_wrong:,} newly wrong."
    )


def data_words(diff: DataDiff) -> str:
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
        text += f"; {_plain(shift.name)} was {shift.before:.1%} of the images, is {shift.now:.1%}"
    return f"{text}."


def _row(check: Check) -> str:
    cells = (check.name, shown(check), check.wanted, WORDS[check.verdict])
    # MLflow's page draws tables without any space between the columns.
    return f"| {' &nbsp; | '.join(cells)} |"


def shown(check: Check) -> str:
    """The value with three digits, or as many as its bound is written with; counts with none."""
    if check.value is None:
        return ""
    if check.value == int(check.value):
        return f"{check.value:,.0f}"
    digits = max([3, *map(len, re.findall(r"(?<=\.)\d+", check.wanted))])
    return f"{check.value:,.{digits}f}"


def _weak_spots(evaluation: Evaluation) -> str:
    """The class with the least recall and the most frequent mistake."""
    seen = [c for c in evaluation.per_class if c.support]
    if not seen:
        return ""
    weakest = min(seen, key=lambda c: c.recall)
    right = round(weakest.recall * weakest.support)
    text = (
        f"Weakest class: {_plain(weakest.name)}, recall {weakest.recall:.3f} ({right:,} of "
        f"{weakest.support:,})."
    )
    names = [_plain(c.name) for c in evaluation.per_class]
    for true, said, times in most_confused(np.asarray(evaluation.confusion), 1):
        text += f" Most frequent mistake: {names[true]} taken for {names[said]} ({times:,})."
    return text


def _data(report: ValidationReport) -> str:
    splits = {s: sum(c.get(s, 0) for c in report.counts.values()) for s in ("train", "val", "test")}
    counts = ", ".join(f"{split} {count:,}" for split, count in splits.items())
    return (
        f"Data: {report.used:,} of {report.found:,} files used, {len(report.class_names):,} "
        f"classes ({counts}); {report.quarantined:,} quarantined."
    )


def _origin(lineage: dict[str, str], run_route: str) -> str:
    digests = ", ".join(f"{name} `{_short(value)}`" for name, value in lineage.items())
    return f"Made from: {digests}. [Training run]({run_route})"


def _short(digest: str) -> str:
    """Twelve digits, and whether files differed from the commit."""
    return digest[:12] + ("-dirty" if digest.endswith("-dirty") else "")


def _plain(text: str, limit: int = _NAME) -> str:
    """One line without Markdown's marks: class names may hold anything."""
    line = re.sub(r"[|`*_<>\[\]\\\s]+", " ", text).strip()
    return line if len(line) <= limit else line[: limit - 3] + "..."
