"""Measure the trained model on the test split, which no earlier step has looked at.

Reads images, manifest.parquet, report.json, the model folder.
Writes metrics.json, evaluation.json, predictions.parquet and a folder of tables and pictures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from components.core import inference
from components.core import metrics as measures
from components.core.artifacts import (
    ClassMetrics,
    Evaluation,
    Metrics,
    ModelCard,
    ValidationReport,
)
from components.core.errors import ChangedInput, InvalidData
from components.core.images import DataParams
from components.core.plan import TrainingParams
from components.io import command, files, machine, models, tracking
from components.io.dataset import Dataset, Location, open_dataset, require_same_data
from components.io.plots import answers as pictures
from components.io.plots.canvas import shorten

_ROC_POINTS = 200


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


@dataclass(frozen=True)
class _Answers:
    """What the model said about the N test images, by path, and how good that is."""

    class_names: list[str]
    paths: list[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]  # (N, K), after temperature scaling
    plain: NDArray[np.float64]  # (N, K), before
    metrics: Metrics
    per_class: list[ClassMetrics]
    confusion: NDArray[np.int64]


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
        predictions: parquet to write, one row a test image: path, label, predicted, and a
            probability for each class in the column `p:<class>`.
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
        answers = _ask(loaded, test, params)
        _write_predictions(predictions, answers)
        files.write_artifact(metrics, answers.metrics)
        evidence = Evaluation(
            metrics=answers.metrics,
            per_class=answers.per_class,
            confusion=answers.confusion.tolist(),
            model_digest=files.digest_folder(model),
            data_digest=test.digest,
            predictions_sha256=files.digest_file(predictions),
        )
        files.write_artifact(evaluation, evidence)
        with files.replacing_folder(plots) as folder:
            _write_tables(folder, answers, params.evaluate.calibration_bins)
            _draw(folder, answers, test, params.evaluate)
        _log(log, answers, test, plots)
    _print(answers, plots)


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


def _ask(loaded: models.LoadedModel, test: Dataset, params: Params) -> _Answers:
    """Run the network over the test images and measure its answers."""
    card, split = loaded.card, test.splits["test"]
    device = inference.resolve_device(params.training.device)
    logits = inference.predict_logits(
        loaded.network.to(device),
        split.pixels,
        device=device,
    )
    bins = params.evaluate.calibration_bins
    found = measures.measure(logits, split.labels, card.class_names, card.temperature, bins)
    return _Answers(
        card.class_names,
        test.rows["test"]["path"].tolist(),
        split.labels,
        measures.answers(logits),
        inference.probabilities(logits, card.temperature),
        inference.probabilities(logits, 1.0),
        *found,
    )


def _write_predictions(path: Path, answers: _Answers) -> None:
    """Equal answers give equal bytes: no pandas metadata, no dates, one compression."""
    import pyarrow as pa
    from pyarrow import parquet

    names = answers.class_names
    columns: dict[str, object] = {
        "path": answers.paths,
        "label": [names[k] for k in answers.labels],
        "predicted": [names[k] for k in answers.predicted],
    }
    columns |= {f"p:{name}": answers.probabilities[:, k] for k, name in enumerate(names)}
    table, repeated = pa.table(columns), ["label", "predicted"]
    files.write_with(
        path,
        lambda part: parquet.write_table(table, part, compression="zstd", use_dictionary=repeated),
    )


def _write_tables(folder: Path, answers: _Answers, bins: int) -> None:
    names = answers.class_names
    pairs = zip(answers.labels.tolist(), answers.predicted.tolist(), strict=True)
    _write_csv(
        folder / "confusion.csv", ("actual", "predicted"), ((names[t], names[p]) for t, p in pairs)
    )
    _write_csv(
        folder / "per_class.csv",
        ("class", "precision", "recall", "f1", "support"),
        (
            (c.name, c.precision, c.recall, c.f1, c.support)
            for c in measures.weakest_first(answers.per_class)
        ),
    )
    _write_csv(
        folder / "reliability.csv",
        measures.Bin._fields,
        measures.reliability(answers.probabilities, answers.labels, bins),
    )
    if len(names) == 2:
        points = measures.roc_curve(answers.probabilities[:, 1], answers.labels == 1, _ROC_POINTS)
        _write_csv(folder / "roc.csv", measures.RocPoint._fields, points)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


def _draw(folder: Path, answers: _Answers, test: Dataset, params: EvaluateParams) -> None:
    pictures.confusion(answers.confusion, answers.class_names, folder / "confusion.png")
    pictures.per_class(answers.per_class, folder / "per_class.png")
    after, before = (
        measures.reliability(probabilities, answers.labels, params.calibration_bins)
        for probabilities in (answers.probabilities, answers.plain)
    )
    pictures.reliability(after, before, folder / "reliability.png")
    if params.top_losses:
        samples = _select_worst(answers, test, params.top_losses)
        pictures.top_losses(samples, len(answers.paths), folder / "top_losses.png")


def _select_worst(answers: _Answers, test: Dataset, limit: int) -> list[pictures.Sample]:
    """The images with the largest loss, worst first."""
    losses = measures.losses(answers.probabilities, answers.labels)
    worst = np.argsort(-losses, kind="stable")[:limit]
    names = answers.class_names
    return [
        pictures.Sample(
            pixels,
            answers.paths[row],
            names[answers.labels[row]],
            names[answers.predicted[row]],
            float(answers.probabilities[row].max()),
        )
        for row, pixels in zip(worst.tolist(), test.splits["test"].pixels[worst], strict=True)
    ]


def _log(log: tracking.Run, answers: _Answers, test: Dataset, plots: Path) -> None:
    numbers = answers.metrics.model_dump(exclude_none=True)
    log.metrics({f"test/{name}": value for name, value in numbers.items()})
    log.dataset(name="test", digest=test.digest, context="test")
    for picture in sorted(plots.glob("*.png")):
        log.file(picture, "test")


def _print(answers: _Answers, plots: Path) -> None:
    found, names = answers.metrics, [shorten(name, 60) for name in answers.class_names]
    support = answers.confusion.sum(axis=1)
    weakest = measures.weakest_first(answers.per_class)[0]
    area = "" if found.roc_auc is None else f", ROC AUC {found.roc_auc:.3f}"
    print(
        f"evaluate  test accuracy {found.accuracy:.3f} (95 % {found.accuracy_low:.3f}-"
        f"{found.accuracy_high:.3f}, n={found.num_images:,}), "
        f"always answering '{names[support.argmax()]}': {found.majority_share:.3f}\n"
        f"evaluate  balanced accuracy {found.balanced_accuracy:.3f}, "
        f"macro F1 {found.macro_f1:.3f}{area}\n"
        f"evaluate  weakest class '{shorten(weakest.name, 60)}': recall {weakest.recall:.3f} "
        f"({round(weakest.recall * weakest.support):,} of {weakest.support:,})"
    )
    for true, said, images in measures.most_confused(answers.confusion, 1):
        print(
            f"evaluate  most confused: {images:,} of {support[true]:,} '{names[true]}' taken "
            f"for '{names[said]}'"
        )
    print(
        f"evaluate  calibration error {found.ece:.3f}, before temperature scaling "
        f"{found.ece_uncalibrated:.3f}\n"
        f"evaluate  pictures and tables: {plots}",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this step; returns the exit code."""
    return command.run_step(run, Params, argv)


if __name__ == "__main__":
    raise SystemExit(main())
