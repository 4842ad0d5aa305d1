"""What Kubeflow's run pages show of a step: numbers, curves, a summary and a page.

Reads the files that the step wrote. Imports no kfp: its artifacts are known by their methods.
"""

from __future__ import annotations

import base64
import csv
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from components.core.artifacts import Evaluation, Hyperparameters, ModelCard, ValidationReport
from components.core.gate.record import DecisionRecord
from components.io.files import read_artifact, write_text
from components.io.reports.pages import render

MAX_CLASSES = 25
MAX_POINTS = 100

Summary = Mapping[str, float | int | str | None]


class MetricsLike(Protocol):
    """A KFP `Metrics` artifact."""

    def log_metric(self, metric: str, value: float) -> None:
        """Keep one number."""


class ClassificationMetricsLike(Protocol):
    """A KFP `ClassificationMetrics` artifact."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Keep counts; row = true class."""

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        """Keep the points of a curve."""


def write_page(step: str, folder: Path, metrics: MetricsLike, summary: str, page: str) -> None:
    """Log the step's numbers; write its summary (Markdown) and its page (HTML).

    Args:
        step: name of the step.
        folder: what it wrote.
        metrics: takes every finite number.
        summary: file to write, Markdown.
        page: file to write, HTML: a copy of the step's own page, which says where its tables are,
            else its summary and figures.
    """
    values = _SUMMARIES[step](folder)
    for name, value in values.items():
        if isinstance(value, int | float) and math.isfinite(value):
            metrics.log_metric(name, float(value))
    rows = {name: _format(value) for name, value in values.items()}
    lines = [f"| {name} | {_escape_cell(text)} |" for name, text in rows.items()]
    _write(summary, "\n".join([f"# {step}", "", "| | |", "|---|---|", *lines, ""]))
    name, tables = _PAGES.get(step, ("", ""))
    own = folder / name
    _write(page, _copy(own, tables) if own.is_file() else _page(step, folder, rows))


def log_curves(folder: Path, curves: ClassificationMetricsLike) -> None:
    """Log the confusion matrix of up to 25 classes, and the ROC curve where there is one.

    Args:
        folder: what evaluate wrote.
        curves: takes them.
    """
    evaluation = read_artifact(folder / "evaluation.json", Evaluation)
    if len(evaluation.per_class) <= MAX_CLASSES:
        curves.log_confusion_matrix([c.name for c in evaluation.per_class], evaluation.confusion)
    table = folder / "plots/roc.csv"
    if table.is_file():
        points = thin_curve(table)
        curves.log_roc_curve(*(list(column) for column in zip(*points, strict=True)))


def thin_curve(table: Path) -> list[tuple[float, float, float]]:
    """At most 100 points (false and true positive rate, threshold), all finite, ends included."""
    with table.open(newline="", encoding="utf-8") as file:
        points = [
            (float(row["false_positive_rate"]), float(row["true_positive_rate"]), threshold)
            for row in csv.DictReader(file)
            if math.isfinite(threshold := float(row["threshold"]))
        ]
    if len(points) <= MAX_POINTS:
        return points
    last = len(points) - 1
    return [points[round(k * last / (MAX_POINTS - 1))] for k in range(MAX_POINTS)]


def _validated(folder: Path) -> Summary:
    report = read_artifact(folder / "report.json", ValidationReport)
    return {
        "images_found": report.found,
        "images_used": report.used,
        "quarantined": report.quarantined,
        "duplicates": report.duplicates,
        "classes": len(report.class_names),
        "failed_rules": sum(not rule.success for rule in report.rules),
        "data_digest": report.data_digest,
    }


def _tuned(folder: Path) -> Summary:
    winner = read_artifact(folder / "hyperparameters.json", Hyperparameters)
    return winner.model_dump(exclude={"schema_version", "data_digest"})


def _trained(folder: Path) -> Summary:
    card = read_artifact(folder / "model/card.json", ModelCard)
    return {
        "best_epoch": card.best_epoch,
        "val_loss": card.val_loss,
        "temperature": card.temperature,
        "architecture": card.architecture,
        "training_key": card.training_key,
        "weights_sha256": card.weights_sha256,
    }


def _evaluated(folder: Path) -> Summary:
    summary: Summary = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return summary


def _registered(folder: Path) -> Summary:
    record = read_artifact(folder / "decision.json", DecisionRecord)
    checks = record.outcome.checks
    messages = {f"check {check.name}": f"{check.status}: {check.message}" for check in checks}
    return {
        "verdict": record.outcome.verdict,
        "version": record.version and f"{record.model_name} {record.version}",
        "checks_not_passed": sum(check.status in ("fail", "error") for check in checks),
        **messages,
    }


_SUMMARIES: dict[str, Callable[[Path], Summary]] = {
    "validate": _validated,
    "tune": _tuned,
    "train": _trained,
    "evaluate": _evaluated,
    "register": _registered,
}

# Pages of steps, from the folder of the step, and where the tables that they link are; the other
# steps have none of their own.
_RUN_PAGE = ("../report/index.html", "in the MLflow run, artifacts, folder report")
_PAGES = {
    "validate": ("report.html", "on the volume of the run, folder artifacts/validate"),
    "evaluate": _RUN_PAGE,
    "register": _RUN_PAGE,
}
_SECTION_LINKS = re.compile(r"<nav.*?</nav>", re.DOTALL)
_TABLE_LINK = re.compile(r'<a href="[^"#:]+\.csv">([^<]+)</a>')


def _format(value: float | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _escape_cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _copy(page: Path, tables: str) -> str:
    """A page without the tables beside it: links to them would lead nowhere.

    Kubeflow shows it in a frame without an address of its own, in which a link to a section opens
    Kubeflow itself.
    """
    text = _SECTION_LINKS.sub("", page.read_text(encoding="utf-8"))
    return _TABLE_LINK.sub(rf"<code>\1</code> ({tables})", text)


def _page(step: str, folder: Path, rows: Mapping[str, str]) -> str:
    figures = {
        path.stem: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        for path in sorted(folder.rglob("*.png"))
    }
    return render("step.html", title=step, rows=rows, figures=figures)


def _write(target: str, text: str) -> None:
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
