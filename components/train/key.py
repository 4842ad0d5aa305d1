"""What identifies a training: its data, its code, its initial weights and its settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from components.core.artifacts import Hyperparameters, ModelCard, ValidationReport
from components.core.training.config import TrainingConfig, resolve_config
from components.core.training.presets import Preset, choose_preset
from components.io import files, models
from components.io.data import manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.train import Params, Paths

# What a result of this step depends on besides its inputs: the same as in dvc.yaml.
CODE = (
    "train",
    "core/artifacts.py",
    "core/data",
    "core/training",
    "io/checkpoints.py",
    "io/data",
    "io/files.py",
    "io/models.py",
    "io/process.py",
    "io/reference.py",
)


def resolve(
    params: Params, tuned: Hyperparameters, labels: NDArray[np.int64], num_classes: int
) -> tuple[TrainingConfig, Preset]:
    """The settings of the training, and the preset that gives those that are auto.

    Args:
        params: as written.
        tuned: of the best trial.
        labels: (N,) class indices of the train split.
        num_classes: K.
    """
    preset = choose_preset(params.training.preset, len(labels), params.model.weights)
    rate, epochs = params.train.learning_rate, params.train.epochs
    config = resolve_config(
        params.training,
        preset,
        architecture=params.model.architecture,
        learning_rate=tuned.learning_rate if rate == "tuned" else rate,
        epochs=tuned.epochs if epochs == "tuned" else epochs,
        early_stopping=params.train.early_stopping,
        horizontal_flip=tuned.horizontal_flip,
        image_size=params.model.image_size,
        labels=labels,
        num_classes=num_classes,
    )
    return config, preset


def training_key(data_digest: str, initial: str, config: TrainingConfig, params: Params) -> str:
    """SHA-256 in hex; equal keys on equal hardware give equal models.

    Args:
        data_digest: of the images.
        initial: initial weights, `random` or the SHA-256 of their file.
        config: resolved settings.
        params: as written.
    """
    settings = [params.model.architecture, asdict(config), params.data.decode_params.model_dump()]
    facts = [data_digest, files.digest_sources(CODE), initial, *settings]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def expected_key(paths: Paths, params: Params, card: ModelCard) -> str:
    """The key of a training with what is here now, on the hardware that the card names.

    Raises:
        MissingInput: an input is not there.
        ChangedInput: the inputs do not belong together.
    """
    report = files.read_artifact(paths.report, ValidationReport)
    rows = manifest.read(paths.manifest, paths.report, ("train",))
    index = {name: k for k, name in enumerate(report.class_names)}
    labels = np.array(rows["label"].map(index), dtype=np.int64)
    tuned = files.read_artifact(paths.hyperparameters, Hyperparameters)
    config, _ = resolve(params, tuned, labels, len(index))
    device, precision = (str(card.settings.get(name)) for name in ("device", "precision"))
    config = replace(
        config,
        device=device if params.training.device == "auto" else config.device,
        precision=precision if params.training.precision == "auto" else config.precision,
    )
    weights = models.find_initial_weights(params.model.weights, params.model.architecture)
    initial = files.digest_file(weights) if weights else "random"
    return training_key(report.data_digest, initial, config, params)
