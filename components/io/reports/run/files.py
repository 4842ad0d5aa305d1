"""What the steps of a run left, read as far as it belongs together."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from components.core.artifacts import (
    Evaluation,
    Hyperparameters,
    Latency,
    ModelCard,
    ValidationReport,
)
from components.core.errors import PipelineError
from components.core.gate.record import DecisionRecord
from components.io import costs, files
from components.io.costs import Cost
from components.io.data import manifest as manifest_file
from components.io.data import predictions as prediction_table
from components.io.data.dataset import DataPaths

if TYPE_CHECKING:
    import pandas as pd

    from components.core.evaluation.predictions import Predictions

T = TypeVar("T", bound=BaseModel)
Row = dict[str, str]

STEPS = ("validate", "tune", "train", "evaluate", "register")


@dataclass(frozen=True, eq=False, kw_only=True)
class RunFiles:
    """The files of a run; what is absent, or of another run, is None or empty.

    Attributes:
        images: folder of the images.
        heat_maps: JPEGs by path of the image.
    """

    images: Path
    report: ValidationReport
    manifest: pd.DataFrame
    quarantine: list[Row]
    near_duplicates: list[Row]
    tuned: Hyperparameters | None = None
    trials: list[Row]
    curves: list[Row]
    importance: list[Row]
    card: ModelCard | None = None
    history: list[Row]
    evaluation: Evaluation | None = None
    predictions: Predictions | None = None
    latency: Latency | None = None
    errors: list[Row]
    heat_maps: dict[str, bytes]
    reliability: list[Row]
    record: DecisionRecord | None = None
    champion: Predictions | None = None
    data_changes: list[Row]
    costs: dict[str, Cost]


@dataclass(frozen=True)
class RunPaths:
    """Where the results of a run are.

    Attributes:
        artifacts: with a folder for each step; report/ in it is written.
        data: images, manifest and validation report.
        model: folder of the model.
        evaluated: folder of what evaluate wrote.
        decision: decision.json of register.
    """

    artifacts: Path
    data: DataPaths
    model: Path
    evaluated: Path
    decision: Path


def usual_paths(artifacts: Path = Path("artifacts")) -> RunPaths:
    """Where the pipeline leaves everything."""
    return RunPaths(
        artifacts,
        DataPaths(),
        artifacts / "train/model",
        artifacts / "evaluate",
        artifacts / "register/decision.json",
    )


def read(paths: RunPaths) -> RunFiles | None:
    """Read what is there; None when no validated data are."""
    artifacts, validated = paths.artifacts, paths.data.report.parent
    report = _artifact(paths.data.report, ValidationReport)
    if report is None or not report.success:
        return None
    manifest = manifest_file.load(paths.data.manifest, paths.data.report)
    tuned = _artifact(artifacts / "tune/hyperparameters.json", Hyperparameters)
    if tuned and tuned.data_digest != report.data_digest:
        tuned = None
    plots = artifacts / "tune/plots"
    card = _card(paths.model, report)
    found = RunFiles(
        images=paths.data.images,
        report=report,
        manifest=manifest,
        quarantine=_table(validated / "quarantine.csv"),
        near_duplicates=_table(validated / "near_duplicates.csv"),
        tuned=tuned,
        trials=_table(artifacts / "tune/trials.csv") if tuned else [],
        curves=_table(plots / "curves.csv") if tuned else [],
        importance=_table(plots / "importance.csv") if tuned else [],
        card=card,
        history=_table(artifacts / "train/history.csv") if card else [],
        errors=[],
        heat_maps={},
        reliability=[],
        data_changes=[],
        costs=_costs(artifacts),
    )
    return _with_evaluation(found, paths) if card else found


def _card(folder: Path, report: ValidationReport) -> ModelCard | None:
    card = _artifact(folder / "card.json", ModelCard)
    return card if card and card.data_digest == report.data_digest else None


def _with_evaluation(found: RunFiles, paths: RunPaths) -> RunFiles:
    folder = paths.evaluated
    evaluation = _artifact(folder / "evaluation.json", Evaluation)
    if evaluation is None or evaluation.model_digest != files.digest_folder(paths.model):
        return found
    errors = _table(folder / "plots/errors.csv")
    maps = {row["path"]: folder / f"plots/heat_maps/{k:04}.jpg" for k, row in enumerate(errors)}
    found = replace(
        found,
        evaluation=evaluation,
        predictions=prediction_table.read(
            folder / "predictions.parquet", evaluation.predictions_sha256
        ),
        latency=_artifact(folder / "latency.json", Latency),
        errors=errors,
        heat_maps={path: file.read_bytes() for path, file in maps.items() if file.is_file()},
        reliability=_table(folder / "plots/reliability.csv"),
    )
    return _with_decision(found, paths)


def _with_decision(found: RunFiles, paths: RunPaths) -> RunFiles:
    record = _artifact(paths.decision, DecisionRecord)
    evaluated = files.digest_file(paths.evaluated / "evaluation.json")
    if record is None or record.evidence.evaluation_sha256 != evaluated:
        return found
    if record.evidence.champion.state == "compared":
        table = prediction_table.find_evidence(paths.decision, "champion.parquet")
        digest = record.evidence.champion.predictions_sha256
        found = replace(found, champion=prediction_table.read(table, digest))
    changes = _table(paths.decision.parent / "comparison/data_changes.csv")
    return replace(found, record=record, data_changes=changes)


def _artifact(path: Path, kind: type[T]) -> T | None:
    """A file of this version; None without one."""
    try:
        return files.read_artifact(path, kind)
    except PipelineError:
        return None


def _table(path: Path) -> list[Row]:
    """The rows of a CSV; none without the file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _costs(artifacts: Path) -> dict[str, Cost]:
    found = {step: _artifact(artifacts / step / costs.FILE, Cost) for step in STEPS}
    return {step: cost for step, cost in found.items() if cost}
