"""Measure the trained model on the test split, which no earlier step has looked at.

Reads images, manifest.parquet, report.json, the model folder.
Writes metrics.json, evaluation.json, predictions.parquet, latency.json and a folder of tables and
pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components.core import inference
from components.core import metrics as measures
from components.core.artifacts import (
    Evaluation,
    Latency,
    ModelCard,
    ValidationReport,
    split_digest,
)
from components.core.errors import ChangedInput, InvalidData
from components.core.images import DataParams
from components.core.plan import TrainingParams
from components.evaluate import outputs
from components.evaluate.outputs import Measured
from components.io import answers, command, files, machine, models, tracking
from components.io.dataset import Dataset, Location, open_dataset, require_same_data
from components.io.latency import time_pictures
from components.io.plots.canvas import shorten


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


def run(
    *,
    images: Path,
    manifest: Path,
    report: Path,
    model: Path,
    cache: Path,
    metrics: Path,
    evaluation: Path,
    predictions: Path,
    latency: Path,
    plots: Path,
    params: Params,
) -> None:
    """Measure the model, write what was found, and add it to the model's MLflow run.

    Args:
        images: folder of the pictures; only files of the test split are opened.
        manifest: rows of all files.
        report: validation report that belongs to the manifest.
        model: folder with weights and card.
        cache: folder of decoded pixels.
        metrics: JSON to write, flat numbers.
        evaluation: JSON to write, the evidence for the gate.
        predictions: parquet to write, one row a test image.
        latency: JSON to write, how long one picture takes.
        plots: folder to replace, tables and pictures.
        params: settings.

    Raises:
        ChangedInput: the model was trained on other data or other classes.
        InvalidData: no image is in the test split.
        PipelineError: the model gives NaN or infinite outputs.
    """
    machine.prepare()
    machine.make_deterministic()
    loaded = models.load(model)
    card = loaded.card
    _require_fitting(model, card, files.read_artifact(report, ValidationReport))
    data = DataParams(**card.images.model_dump(), cache_gib=params.data.cache_gib)
    name = f"{card.architecture}-{card.training_key[:8]}"
    with tracking.open_run(kind="model", name=name, key=card.training_key) as log:
        location = Location(images, manifest, report, cache)
        test = open_dataset(location, data, card.image_size, ("test",))
        found = _measure(loaded, test, params)
        files.write_bytes(predictions, answers.to_parquet(found.answers))
        files.write_artifact(metrics, found.metrics)
        evidence = Evaluation(
            metrics=found.metrics,
            per_class=found.per_class,
            confusion=found.confusion.tolist(),
            model_digest=files.digest_folder(model),
            data_digest=test.digest,
            test_digest=split_digest(test.rows["test"]),
            predictions_sha256=files.digest_file(predictions),
        )
        files.write_artifact(evaluation, evidence)
        timed = _time(loaded, test, images, params)
        files.write_artifact(latency, timed)
        with files.replacing_folder(plots) as folder:
            bins, worst = params.evaluate.calibration_bins, params.evaluate.top_losses
            outputs.write_tables(folder, found, bins)
            outputs.draw(folder, found, test, bins=bins, top_losses=worst)
        _log(log, found, evidence, plots)
    for line in outputs.lines(found, timed, plots):
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


def _measure(loaded: models.LoadedModel, test: Dataset, params: Params) -> Measured:
    """Run the network over the test images and measure its answers."""
    card = loaded.card
    logits = answers.logits_of(loaded, test, inference.resolve_device(params.training.device))
    said = answers.to_answers(logits, loaded, test)
    bins = params.evaluate.calibration_bins
    found = measures.measure(logits, said.labels, card.class_names, card.temperature, bins)
    return Measured(said, inference.probabilities(logits, 1.0), *found)


def _time(loaded: models.LoadedModel, test: Dataset, images: Path, params: Params) -> Latency:
    device = inference.resolve_device(params.training.device)
    pictures = [images / path for path in test.rows["test"]["path"]]
    facts = machine.facts(device)
    return time_pictures(
        loaded, pictures, device=device, machine=f"{facts['device']}, {facts['threads']} threads"
    )


def _log(log: tracking.Run, found: Measured, evidence: Evaluation, plots: Path) -> None:
    # By this tag the gate counts how many models were measured on one test set.
    log.tags({"test": evidence.test_digest})
    numbers = found.metrics.model_dump(exclude_none=True)
    log.metrics({f"test/{name}": value for name, value in numbers.items()})
    log.dataset(name="test", digest=evidence.data_digest, context="test")
    for picture in sorted(plots.glob("*.png")):
        log.file(picture, "test")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this step; returns the exit code."""
    return command.run_step(run, Params, argv)
