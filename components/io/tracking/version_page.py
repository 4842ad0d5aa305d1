"""The description of a model version: the page on which people decide."""

import re

import numpy as np

from components.core.artifacts import Check, Decision, Evaluation, ValidationReport, Verdict
from components.core.metrics import most_confused

WORDS: dict[Verdict, str] = {"promote": "PASS", "hold": "HOLD", "error": "ERROR"}

# MLflow's database column holds 5,000.
LIMIT = 4500

_REASON, _NAME = 240, 60


def headline(decision: Decision, evaluation: Evaluation) -> str:
    """Verdict and number first: lists of versions show only the first dozen characters."""
    metrics = evaluation.metrics
    return (
        f"{WORDS[decision.verdict]} {metrics.accuracy:.3f} accuracy on {metrics.num_images:,} test "
        f"images (95 %: {metrics.accuracy_low:.3f} to {metrics.accuracy_high:.3f})"
    )


def describe(
    decision: Decision,
    evaluation: Evaluation,
    report: ValidationReport,
    *,
    lineage: dict[str, str],
    run_route: str,
    model_uri: str,
) -> str:
    """Markdown of at most 4,500 characters: verdict, checks, weak spots, data, origin, use.

    Args:
        decision: of the gate.
        evaluation: what it was decided on.
        report: of the data.
        lineage: tag -> value, e.g. git revision; shown as it is.
        run_route: the run's page inside the MLflow UI.
        model_uri: `models:/<name>/<version>`.
    """
    table = ["| check | value | wanted | verdict |", "|---|---|---|---|"]
    failing = [check for check in decision.checks if check.verdict != "promote"]
    parts = [
        headline(decision, evaluation),
        "\n".join([*table, *map(_row, decision.checks)]),
        "\n".join(f"- {_plain(check.reason, _REASON)}" for check in failing),
        _weak_spots(evaluation),
        _data(report),
        _origin(lineage, run_route),
        f'Use: `mlflow.pyfunc.load_model("{model_uri}").predict(["<image file in base64>"])`',
    ]
    return "\n\n".join(part for part in parts if part)[:LIMIT]


def _row(check: Check) -> str:
    # As many digits as its threshold is written with.
    digits = len(check.wanted.partition(".")[2])
    value = "" if check.value is None else f"{check.value:,.{digits}f}"
    cells = (check.name, value, check.wanted, WORDS[check.verdict])
    # MLflow's page draws tables without any space between the columns.
    return f"| {' &nbsp; | '.join(cells)} |"


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
