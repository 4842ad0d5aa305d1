"""Train the final model with the tuned settings, keep its best epoch, calibrate it on val.

Reads images, manifest.parquet, report.json, hyperparameters.json.
Writes the model folder, history.csv and history.png. A checkpoint after every epoch makes a killed
run continue where it was: run the same command again.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from components import tracking
from components.core.artifacts import Hyperparameters, ModelCard
from components.core.data.decoding import DataParams
from components.core.errors import Interrupted
from components.core.evaluation.diagnosis import diagnose, training_facts
from components.core.phrases import count
from components.core.training.architectures import ModelParams
from components.core.training.config import TrainingConfig, TrainingParams
from components.core.training.presets import Preset
from components.io import checkpoints, files, models, process
from components.io.data.dataset import DataPaths, Dataset, open_dataset, require_same_data
from components.io.data.timed_images import TimedImages
from components.io.progress import Progress
from components.io.reports import plots
from components.train.key import CODE as CODE  # read as that of the step
from components.train.key import resolve, training_key
from components.train.shortfalls import Outcome, find_shortfalls

if TYPE_CHECKING:
    from torch import nn

    from components.core.training.loop import Epoch, State


class TrainParams(BaseModel):
    """Section `train` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: Literal["tuned"] | Annotated[float, Field(ge=1e-6, le=1e-1)] = Field(
        description="Highest learning rate of the schedule; tuned = the best trial's."
    )
    epochs: Literal["tuned"] | Annotated[int, Field(ge=1, le=50)] = Field(
        description="Length of the schedule; tuned = the best trial's."
    )
    early_stopping: int = Field(
        ge=1,
        le=50,
        description="Stop after so many epochs without a lower val loss, counted from the middle "
        "of the schedule on.",
    )


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections that this step reads."""

    data: DataParams
    model: ModelParams
    training: TrainingParams
    train: TrainParams


@dataclass(frozen=True)
class _Job:
    """One training: what it learns from, how, and the key that identifies it."""

    dataset: Dataset
    config: TrainingConfig
    preset: Preset
    network: nn.Module
    initial_weights: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Paths(DataPaths):
    """What this step reads and writes, besides the data."""

    hyperparameters: Annotated[Path, "those of the best trial"] = Path(
        "artifacts/tune/hyperparameters.json"
    )
    checkpoint: Annotated[Path, "state of an unfinished training; removed at the end"] = Path(
        "artifacts/train/checkpoint.bin"
    )
    model: Annotated[Path, "folder to write: weights and card"] = Path("artifacts/train/model")
    history: Annotated[Path, "CSV to write, one row per epoch"] = Path(
        "artifacts/train/history.csv"
    )
    plot: Annotated[Path, "PNG to write, the same curves"] = Path("artifacts/train/history.png")


def run(paths: Paths, params: Params) -> None:
    """Train; write the model folder, its curves as CSV and as a figure."""
    process.configure()
    process.choose_kernels(deterministic=params.training.deterministic)
    tuned = files.read_artifact(paths.hyperparameters, Hyperparameters)
    dataset = open_dataset(paths, params.data, params.model.image_size, ("train", "val"))
    require_same_data(paths.hyperparameters, tuned.data_digest, dataset.digest, "tune")
    job = _prepare(dataset, tuned, params)
    config, preset = job.config, f"{job.preset.tier} ({job.preset.reason})"
    print(
        f"train     {preset}: learning rate {config.learning_rate:.2g}, {config.epochs} epochs, "
        f"batch {config.batch_size}, {config.augmentation} augmentation, "
        f"{config.device} {config.precision}",
        flush=True,
    )
    tags = {"data": dataset.digest, "study": tuned.study, **process.hardware_facts(config.device)}
    name = f"{params.model.architecture}-{job.key[:8]}"
    with tracking.open_run(kind="model", name=name, key=job.key, tags=tags) as mlflow_run:
        mlflow_run.params({**asdict(config), "preset": preset})
        mlflow_run.dataset(name="train", digest=dataset.digest, context="training")
        state, history = _train(job, paths.checkpoint, mlflow_run)
        _report(job, state["best"], history, tuned, mlflow_run)
        _write_model(paths.model, job, state, params)
        _write_history(paths.history, history)
        plots.history(history, config.epochs, paths.plot)
        for file in (paths.history, paths.plot):
            mlflow_run.file(file, "train")
    checkpoints.remove(paths.checkpoint)


def _prepare(dataset: Dataset, tuned: Hyperparameters, params: Params) -> _Job:
    names = dataset.class_names
    config, preset = resolve(params, tuned, dataset.splits["train"].labels, len(names))
    network, initial = models.create_model(params.model, len(names), config.seed)
    key = training_key(dataset.digest, initial, config, params)
    return _Job(dataset, config, preset, network, initial, key)


def _train(
    job: _Job, checkpoint: Path, mlflow_run: tracking.Run
) -> tuple[State, list[dict[str, float]]]:
    """Run all epochs that are left; return the last state and one row per epoch."""
    from components.core.training.loop import LabeledImages, Stopped, fit

    saved = checkpoints.load(checkpoint, job.key)
    state, history = saved or ({}, [])
    if saved:
        print(f"train     resumed after {state['epoch']} epochs, batch {state['batch']}")
    for row in history:  # what a kill or an outage kept from MLflow; it knows the others
        mlflow_run.metrics(_curves(row), step=int(row["epoch"]))
    train, val = (job.dataset.splits[split] for split in ("train", "val"))
    with process.stop_on_signal() as stop:
        progress = Progress("train", job.config, len(train.labels), stop)
        timed, started = TimedImages(train.pixels), time.monotonic()
        epochs = fit(
            job.network,
            LabeledImages(timed, train.labels),
            val,
            job.config,
            resume=state or None,
            after_batch=progress.after_batch,
        )
        try:
            for epoch in epochs:
                rate = progress.report(epoch)
                state = epoch.state
                read_share = timed.seconds / (time.monotonic() - started)
                timed.seconds, started = 0.0, time.monotonic()
                history.append(_row(epoch, rate) | {"read_share": read_share})
                checkpoints.save(checkpoint, job.key, state, history)
                mlflow_run.metrics(_curves(history[-1]), step=epoch.index)
        except Stopped as stopped:
            checkpoints.save(checkpoint, job.key, stopped.state, history)
            raise Interrupted(
                f"train: stopped by a signal; epoch {stopped.state['epoch'] + 1}, batch "
                f"{stopped.state['batch']} is saved. Run the same command again to continue.",
                stop.signal_number,
            ) from None
    return state, history


def _report(
    job: _Job,
    best: State,
    history: list[dict[str, float]],
    tuned: Hyperparameters,
    mlflow_run: tracking.Run,
) -> None:
    """Say, and log, which epoch is kept, whether training stopped early, and what fell short."""
    config, val = job.config, job.dataset.splits["val"]
    print(f"train     best epoch {best['epoch']}, val/loss {best['val_loss']:.3f}", flush=True)
    notes = {}
    if len(history) < config.epochs:
        notes["stopped_early"] = (
            f"stopped early after epoch {len(history)} of {config.epochs}: val/loss was not lower "
            f"for {count(config.early_stopping, 'epoch')} (train.early_stopping), the best is "
            f"epoch {best['epoch']}"
        )
    outcome = Outcome(
        config=config,
        num_train_images=len(job.dataset.splits["train"].labels),
        val_labels=val.labels,
        val_loss=best["val_loss"],
        val_accuracy=history[best["epoch"] - 1]["val_accuracy"],
        class_names=job.dataset.class_names,
    )
    notes |= find_shortfalls(outcome, tuned)
    counts = np.bincount(job.dataset.splits["train"].labels, minlength=len(outcome.class_names))
    facts = training_facts(history, asdict(config), counts.tolist(), job.initial_weights)
    notes |= {finding.kind.replace(" ", "_"): str(finding) for finding in diagnose(facts)}
    for note in notes.values():
        print(f"train     {note}", flush=True)
    mlflow_run.tags(notes)
    mlflow_run.metrics(
        {
            "best/epoch": best["epoch"],
            "best/val_loss": outcome.val_loss,
            "best/val_accuracy": outcome.val_accuracy,
            "best_trial/val_loss": tuned.val_loss,
            "best_trial/val_accuracy": tuned.val_accuracy,
            "majority_class/val_accuracy": outcome.majority_class()[1],
        }
    )


def _row(epoch: Epoch, rate: float) -> dict[str, float]:
    return {
        "epoch": epoch.index,
        "train_loss": epoch.train_loss,
        "val_loss": epoch.val_loss,
        "val_accuracy": epoch.val_accuracy,
        "learning_rate": epoch.learning_rate,
        "images_per_second": rate,
        "best": float(epoch.best),
    }


def _curves(row: dict[str, float]) -> dict[str, float]:
    """MLflow names: the part before the slash becomes a section of charts."""
    return {
        "train/loss": row["train_loss"],
        "val/loss": row["val_loss"],
        "val/accuracy": row["val_accuracy"],
        "train/learning_rate": row["learning_rate"],
        "train/images_per_second": row["images_per_second"],
    }


def _write_model(folder: Path, job: _Job, state: State, params: Params) -> None:
    """Weights of the best epoch, and the card with the temperature that val asks for."""
    from components.core.training import calibration, inference

    best = state["best"]
    job.network.load_state_dict(best["network"])
    val = job.dataset.splits["val"]
    logits = inference.predict_logits(job.network, val.pixels, device=job.config.device)
    calibrated = calibration.calibrate(logits, val.labels, list(job.dataset.rows["val"]["group"]))
    print(f"train     temperature {calibrated}", flush=True)
    settings = asdict(job.config) | {"calibration": f"temperature {calibrated}"}
    settings["class_weights"] = params.training.class_weights
    card = ModelCard(
        architecture=params.model.architecture,
        class_names=job.dataset.class_names,
        image_size=params.model.image_size,
        images=params.data.decode_params,
        temperature=calibrated.temperature,
        weights_sha256=models.save_weights(folder, best["network"]),
        initial_weights=job.initial_weights,
        data_digest=job.dataset.digest,
        training_key=job.key,
        settings=settings,
        best_epoch=best["epoch"],
        val_loss=best["val_loss"],
    )
    models.save_card(folder, card)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    columns = list(history[0])
    files.write_csv(path, columns, ([row[name] for name in columns] for row in history))
