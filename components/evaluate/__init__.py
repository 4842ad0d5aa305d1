"""Evaluate the trained model on the test split, which no earlier step has looked at.

Reads images, manifest.parquet, report.json, the model folder.
Writes metrics.json, evaluation.json, predictions.parquet, latency.json and a folder of tables and
figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components import tracking
from components.core.artifacts import Evaluation, Latency, ModelCard, ValidationReport, split_digest
from components.core.data.decoding import DataParams
from components.core.errors import ChangedInput, InvalidData
from components.core.evaluation import metrics
from components.core.training import inference
from components.core.training.config import TrainingParams
from components.evaluate import outputs
from components.evaluate.latency import time_images
from components.evaluate.outputs import EvaluationResult
from components.io import files, models, process
from components.io.data import predictions as prediction_table
from components.io.data.dataset import DataPaths, Dataset, open_dataset, require_same_data
from components.io.reports.plots.canvas import shorten
from components.io.reports.run import Page, RunPaths, usual_paths, write_page
from components.tracking import shown


class EvaluateParams(BaseModel):
    """Section `evaluate` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibration_bins: Annotated[int, Field(ge=2, le=100)] = Field(
        description="Of the reliability diagram and its expected calibration error."
    )
    top_losses: Annotated[int, Field(ge=0, le=200)] = Field(
        description="Images on the sheet of largest losses; 0 = no sheet."
    )


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections that this step reads; of `data` the cache: the model card says how to decode."""

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
    predictions: Annotated[Path, "parquet to write, one row per test image"] = Path(
        "artifacts/evaluate/predictions.parquet"
    )
    latency: Annotated[Path, "JSON to write, how long one image takes"] = Path(
        "artifacts/evaluate/latency.json"
    )
    plots: Annotated[Path, "folder to replace, tables and figures"] = Path(
        "artifacts/evaluate/plots"
    )
    artifacts: Annotated[Path, "folder of all steps' results; report/ in it is written"] = Path(
        "artifacts"
    )


def run(paths: Paths, params: Params) -> None:
    """Evaluate the model, write what was measured, and add it to the model's MLflow run.

    Raises:
        ChangedInput: the model was trained on other data or other classes.
        InvalidData: no image is in the test split.
        PipelineError: the model gives NaN or infinite outputs.
    """
    process.configure()
    process.choose_kernels(deterministic=True)
    loaded = models.load(paths.model)
    card = loaded.card
    _require_same_data(paths.model, card, files.read_artifact(paths.report, ValidationReport))
    data = DataParams(**card.images.model_dump(), cache_gib=params.data.cache_gib)
    name = f"{card.architecture}-{card.training_key[:8]}"
    with tracking.open_run(kind="model", name=name, key=card.training_key) as mlflow_run:
        test = open_dataset(paths, data, card.image_size, ("test",))
        result = _evaluate(loaded, test, params)
        evaluation = _write(paths, result, test)
        latency = _measure_latency(loaded, test, paths.images, params)
        files.write_artifact(paths.latency, latency)
        with files.replacing_folder(paths.plots) as folder:
            bins, worst = params.evaluate.calibration_bins, params.evaluate.top_losses
            outputs.write_tables(folder, result, bins)
            outputs.draw_plots(folder, result, test, bins=bins, top_losses=worst)
            wrong = outputs.write_errors(folder, result)[:worst]
            predicted = result.predictions.predicted
            device = inference.resolve_device(params.training.device)
            outputs.write_heat_maps(folder, loaded, test, wrong, predicted, device)
        page = write_page(_run_paths(paths), data.decode_params, shown.origin(mlflow_run))
        _log(mlflow_run, name, evaluation, paths.plots, page)
    for line in outputs.lines(result, latency, paths.plots):
        print(f"evaluate  {line}", flush=True)
    for finding in page.findings if page else ():
        print(f"evaluate  {finding}", flush=True)


def _run_paths(paths: Paths) -> RunPaths:
    usual = usual_paths(paths.artifacts)
    return replace(usual, data=paths, model=paths.model, evaluated=paths.evaluation.parent)


def _require_same_data(folder: Path, card: ModelCard, report: ValidationReport) -> None:
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


def _evaluate(loaded: models.LoadedModel, test: Dataset, params: Params) -> EvaluationResult:
    """Run the network over the test images and measure its predictions."""
    card, device = loaded.card, inference.resolve_device(params.training.device)
    logits = prediction_table.logits_of(loaded, test, device)
    predictions = prediction_table.to_predictions(logits, loaded, test)
    bins, names = params.evaluate.calibration_bins, card.class_names
    found = metrics.compute_metrics(logits, predictions.labels, names, card.temperature, bins)
    return EvaluationResult(predictions, inference.probabilities(logits, 1.0), *found)


def _write(paths: Paths, result: EvaluationResult, test: Dataset) -> Evaluation:
    """Write predictions and metrics; return the metrics, bound to what they are about."""
    files.write_bytes(paths.predictions, prediction_table.to_parquet(result.predictions))
    files.write_artifact(paths.metrics, result.metrics)
    evaluation = Evaluation(
        metrics=result.metrics,
        per_class=result.per_class,
        confusion=result.confusion.tolist(),
        model_digest=files.digest_folder(paths.model),
        data_digest=test.digest,
        test_digest=split_digest(test.rows["test"]),
        predictions_sha256=files.digest_file(paths.predictions),
    )
    files.write_artifact(paths.evaluation, evaluation)
    return evaluation


def _measure_latency(
    loaded: models.LoadedModel, test: Dataset, folder: Path, params: Params
) -> Latency:
    device = inference.resolve_device(params.training.device)
    images = [folder / path for path in test.rows["test"]["path"]]
    facts = process.hardware_facts(device)
    machine = f"{facts['device']}, {facts['threads']} threads"
    return time_images(loaded, images, device=device, machine=machine)


def _log(
    mlflow_run: tracking.Run, name: str, evaluation: Evaluation, plots: Path, page: Page | None
) -> None:
    # By this tag the gate counts how many models were evaluated on one test set.
    mlflow_run.tags({"test": evaluation.test_digest})
    numbers = evaluation.metrics.model_dump(exclude_none=True)
    mlflow_run.metrics({f"test/{name}": value for name, value in numbers.items()})
    mlflow_run.dataset(name="test", digest=evaluation.data_digest, context="test")
    for plot in sorted(plots.glob("*.png")):
        mlflow_run.file(plot, "test")
    if page:
        shown.log_folder(mlflow_run, page.path.parent, "report")
    if not mlflow_run.tag("version"):  # register has described what it registered
        accuracy, text = evaluation.metrics.accuracy, outputs.headline(evaluation.metrics)
        title = f"{name}: accuracy {accuracy:.3f}"
        shown.describe(mlflow_run, f"{text}. Not registered yet.", name=title)
