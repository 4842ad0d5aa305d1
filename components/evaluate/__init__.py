"""Measure the trained model on the test split, which no earlier step has looked at.

Reads images, manifest.parquet, report.json, the model folder.
Writes metrics.json, evaluation.json, predictions.parquet, latency.json and a folder of tables and
pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components import tracking
from components.core.artifacts import Evaluation, Latency, ModelCard, ValidationReport, split_digest
from components.core.data.decoding import DataParams
from components.core.errors import ChangedInput, InvalidData
from components.core.evaluation import metrics as measures
from components.core.training import inference
from components.core.training.config import TrainingParams
from components.evaluate import outputs
from components.evaluate.latency import time_pictures
from components.evaluate.outputs import EvaluationResult
from components.io import files, models
from components.io import process as machine
from components.io.data import predictions as answers
from components.io.data.dataset import DataPaths, Dataset, open_dataset, require_same_data
from components.io.reports.plots.canvas import shorten


class EvaluateParams(BaseModel):
    """Section `evaluate` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    top_losses: Annotated[int, Field(ge=0, le=200)]


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections that this step reads. Of `data` only the cache: the model reads its own way."""

    data: DataParams
    training: TrainingParams
    evaluate: EvaluateParams


@dataclass(frozen=True, kw_only=True)
class Paths(DataPaths):
    """What this step reads and writes, besides the data."""

    model: Annotated[Path, "folder with weights and card"] = Path("artifacts/train/model")
    metrics: Annotated[Path, "JSON to write, flat numbers"] = Path(
        "artifacts/evaluate/metrics.json"
    )
    evaluation: Annotated[Path, "JSON to write: metrics, bound to model, data and predictions"] = (
        Path("artifacts/evaluate/evaluation.json")
    )
    predictions: Annotated[Path, "parquet to write, one row a test image"] = Path(
        "artifacts/evaluate/predictions.parquet"
    )
    latency: Annotated[Path, "JSON to write, how long one image takes"] = Path(
        "artifacts/evaluate/latency.json"
    )
    plots: Annotated[Path, "folder to replace, tables and figures"] = Path(
        "artifacts/evaluate/plots"
    )


def run(paths: Paths, params: Params) -> None:
    """Measure the model, write what was found, and add it to the model's MLflow run.

    Raises:
        ChangedInput: the model was trained on other data or other classes.
        InvalidData: no image is in the test split.
        PipelineError: the model gives NaN or infinite outputs.
    """
    machine.configure()
    machine.make_deterministic()
    loaded = models.load(paths.model)
    card = loaded.card
    _require_fitting(paths.model, card, files.read_artifact(paths.report, ValidationReport))
    data = DataParams(**card.images.model_dump(), cache_gib=params.data.cache_gib)
    name = f"{card.architecture}-{card.training_key[:8]}"
    with tracking.open_run(kind="model", name=name, key=card.training_key) as log:
        test = open_dataset(paths, data, card.image_size, ("test",))
        found = _measure(loaded, test, params)
        files.write_bytes(paths.predictions, answers.to_parquet(found.answers))
        files.write_artifact(paths.metrics, found.metrics)
        evidence = Evaluation(
            metrics=found.metrics,
            per_class=found.per_class,
            confusion=found.confusion.tolist(),
            model_digest=files.digest_folder(paths.model),
            data_digest=test.digest,
            test_digest=split_digest(test.rows["test"]),
            predictions_sha256=files.digest_file(paths.predictions),
        )
        files.write_artifact(paths.evaluation, evidence)
        timed = _time(loaded, test, paths.images, params)
        files.write_artifact(paths.latency, timed)
        with files.replacing_folder(paths.plots) as folder:
            bins, worst = params.evaluate.calibration_bins, params.evaluate.top_losses
            outputs.write_tables(folder, found, bins)
            outputs.draw(folder, found, test, bins=bins, top_losses=worst)
        _log(log, found, evidence, paths.plots)
    for line in outputs.lines(found, timed, paths.plots):
        print(f"evaluate  {line}", flush=True)


def _require_fitting(folder: Path, card: ModelCard, report: ValidationReport) -> None:
    require_same_data(folder, card.data_digest, report.data_digest, "train")
    if card.class_names != report.class_names:
        raise ChangedInput(
            f"{folder}: knows the classes {shorten(', '.join(card.class_names), 60)}, but the data "
            f"has {shorten(', '.join(report.class_names), 60)}; run `dvc repro train`."
        )
    if not any(counts.get("test") for counts in report.counts.values()):
        raise InvalidData(
            "the test split is empty, so nothing can be measured; raise validate.split.test in "
            "params.yaml or add images, then run `dvc repro`."
        )


def _measure(loaded: models.LoadedModel, test: Dataset, params: Params) -> EvaluationResult:
    """Run the network over the test images and measure its answers."""
    card = loaded.card
    logits = answers.logits_of(loaded, test, inference.resolve_device(params.training.device))
    said = answers.to_predictions(logits, loaded, test)
    bins = params.evaluate.calibration_bins
    found = measures.compute_metrics(logits, said.labels, card.class_names, card.temperature, bins)
    return EvaluationResult(said, inference.probabilities(logits, 1.0), *found)


def _time(loaded: models.LoadedModel, test: Dataset, images: Path, params: Params) -> Latency:
    device = inference.resolve_device(params.training.device)
    pictures = [images / path for path in test.rows["test"]["path"]]
    facts = machine.hardware_facts(device)
    return time_pictures(
        loaded, pictures, device=device, machine=f"{facts['device']}, {facts['threads']} threads"
    )


def _log(log: tracking.Run, found: EvaluationResult, evidence: Evaluation, plots: Path) -> None:
    # By this tag the gate counts how many models were measured on one test set.
    log.tags({"test": evidence.test_digest})
    numbers = found.metrics.model_dump(exclude_none=True)
    log.metrics({f"test/{name}": value for name, value in numbers.items()})
    log.dataset(name="test", digest=evidence.data_digest, context="test")
    for picture in sorted(plots.glob("*.png")):
        log.file(picture, "test")
