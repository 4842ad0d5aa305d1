"""What a training leaves: the model with its card, its history, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components import tracking
from components.core.artifacts import Hyperparameters, ModelCard
from components.core.evaluation.diagnosis import diagnose, training_facts
from components.core.phrases import count
from components.core.training.config import TrainingConfig
from components.core.training.presets import Preset
from components.io import files, models, reference
from components.io.data.dataset import Dataset
from components.train.shortfalls import Outcome, find_shortfalls

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from components.core.training.loop import Epoch, State
    from components.train import Params


@dataclass(frozen=True)
class Job:
    """One training: what it learns from, how, and the key that identifies it."""

    dataset: Dataset
    tuned: Hyperparameters
    config: TrainingConfig
    preset: Preset
    network: nn.Module
    initial_weights: str
    key: str


def report(
    job: Job, state: State, history: list[dict[str, float]], mlflow_run: tracking.Run
) -> None:
    """Say, and log, which epoch is kept, whether training stopped early, and what fell short."""
    config, tuned, best = job.config, job.tuned, state["best"]
    print(f"train     best epoch {best['epoch']}, val/loss {best['val_loss']:.3f}", flush=True)
    notes = {}
    if len(history) < config.epochs:
        notes["stopped_early"] = (
            f"stopped early after epoch {len(history)} of {config.epochs}: val/loss was not lower "
            f"for {count(config.early_stopping, 'epoch')} (train.early_stopping), the best is "
            f"epoch {best['epoch']}"
        )
    if (size := state["micro_batch_size"]) < config.batch_size:
        notes["out_of_memory"] = (
            f"memory did not suffice for {config.batch_size} images at a time: the gradients of "
            f"each step were added up over {size} at a time"
        )
    outcome = Outcome(
        config=config,
        num_train_images=len(job.dataset.splits["train"].labels),
        val_labels=job.dataset.splits["val"].labels,
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


def row(epoch: Epoch, rate: float) -> dict[str, float]:
    """One line of history.csv."""
    return {
        "epoch": epoch.index,
        "train_loss": epoch.train_loss,
        "val_loss": epoch.val_loss,
        "val_accuracy": epoch.val_accuracy,
        "learning_rate": epoch.learning_rate,
        "images_per_second": rate,
        "best": float(epoch.best),
    }


def log_epoch(row: dict[str, float], mlflow_run: tracking.Run) -> None:
    """Log a line of history.csv; the part of a name before the slash is a section of charts."""
    curves = {
        "train/loss": row["train_loss"],
        "val/loss": row["val_loss"],
        "val/accuracy": row["val_accuracy"],
        "train/learning_rate": row["learning_rate"],
    }
    rate = {"train/images_per_second": row["images_per_second"]}
    mlflow_run.metrics(curves, step=int(row["epoch"]), by_clock=rate)


def write_model(folder: Path, job: Job, state: State, params: Params) -> None:
    """Weights of the best epoch, reference statistics, the card with the temperature of val."""
    from components.core.training import calibration, features

    best, architecture = state["best"], params.model.architecture
    job.network.load_state_dict(best["network"])
    val, device = job.dataset.splits["val"], job.config.device
    seen = features.extract(job.network, architecture, val.pixels, device=device)
    groups = list(job.dataset.rows["val"]["group"])
    calibrated = calibration.calibrate(seen[1], val.labels, groups)
    print(f"train     temperature {calibrated}", flush=True)
    _write_reference(folder, job, architecture, calibrated.temperature, seen)
    card = ModelCard(
        architecture=architecture,
        class_names=job.dataset.class_names,
        image_size=params.model.image_size,
        images=params.data.decode_params,
        temperature=calibrated.temperature,
        weights_sha256=models.save_weights(folder, best["network"]),
        initial_weights=job.initial_weights,
        data_digest=job.dataset.digest,
        training_key=job.key,
        settings={
            **asdict(job.config),
            "calibration": f"temperature {calibrated}",
            "class_weights": params.training.class_weights,
            "micro_batch_size": state["micro_batch_size"],
        },
        best_epoch=best["epoch"],
        val_loss=best["val_loss"],
    )
    models.save_card(folder, card)


def _write_reference(
    folder: Path,
    job: Job,
    architecture: str,
    temperature: float,
    seen: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """What new images are compared with later, by `python -m pipeline drift`."""
    measured = reference.measure(
        job.network,
        architecture,
        temperature,
        job.dataset.splits["train"],
        job.dataset.splits["val"],
        seen,
        num_classes=len(job.dataset.class_names),
        device=job.config.device,
    )
    reference.write(folder, measured)


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """One line per epoch."""
    columns = list(history[0])
    files.write_csv(path, columns, ([row[name] for name in columns] for row in history))
