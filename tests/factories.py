"""One builder for each object of the domain: valid as it comes, changed by keyword.

`changes` are validated; a test that needs a broken object uses `model_copy(update=...)`, which is
not. Nested objects are built by their own builder and passed in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.core.artifacts import (
    Evaluation,
    Hyperparameters,
    ModelCard,
    Split,
    ValidationReport,
)
from components.core.data.data_diff import DataDiff
from components.core.data.decoding import ImageParams
from components.core.evaluation import metrics
from components.core.evaluation.predictions import Predictions
from components.core.gate.evidence import ChampionEvidence, Evidence
from components.core.gate.policy import GatePolicy
from components.core.gate.record import Accuracy, Check, DecisionRecord, Outcome
from components.core.training.config import TrainingConfig

# Digests of different things, told apart at a glance.
MODEL, DATA, TEST = "a" * 64, "b" * 64, "e" * 64
PREDICTIONS, EVALUATION = "f" * 64, "1" * 64
CHAMPION, CHAMPION_PREDICTIONS = "c" * 64, "d" * 64


def change_settings(raw: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """Set values of a params.yaml that was read; keys are dotted and must be in it.

    Args:
        raw: sections as read; changed in place and returned.
        changes: dotted key, e.g. `train.epochs`, to value.
    """
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        place = raw
        for section in sections:
            place = place[section]
        assert key in place, f"{dotted} is not in params.yaml"
        place[key] = value
    return raw


def image_params(**changes: Any) -> ImageParams:
    """PNG and JPEG of up to a million pixels."""
    values: dict[str, Any] = {
        "formats": ["PNG", "JPEG"],
        "max_pixels": 1_000_000,
        "white_level": None,
        "multi_frame": "refuse",
        "background": (255, 255, 255),
        "resize_mode": "crop",
    }
    return ImageParams.model_validate(values | changes)


def model_card(**changes: Any) -> ModelCard:
    """A ResNet-18 of 32 pixels and two classes."""
    values: dict[str, Any] = {
        "architecture": "resnet18",
        "class_names": ["bad", "good"],
        "image_size": 32,
        "images": image_params(),
        "temperature": 1.7,
        "weights_sha256": "9" * 64,
        "initial_weights": "random",
        "data_digest": DATA,
        "training_key": "8" * 64,
        "settings": {"learning_rate": 0.001},
        "best_epoch": 1,
        "val_loss": 0.6,
    }
    return ModelCard.model_validate(values | changes)


def validation_report(**changes: Any) -> ValidationReport:
    """A data set that passed: per class 1,000 training, 200 val and 300 test images."""
    names = changes.get("class_names", ["bad", "good"])
    counts: dict[Split, int] = {"train": 1_000, "val": 200, "test": 300}
    values: dict[str, Any] = {
        "success": True,
        "data_digest": DATA,
        "class_names": names,
        "found": 3_100,
        "used": 3_000,
        "quarantined": 60,
        "ignored": 40,
        "duplicates": 20,
        "counts": dict.fromkeys(names, counts),
        "near_duplicates": 90,
        "groups": 2_900,
        "largest_group": 7,
        "pinned": 0,
        "rules": [],
    }
    return ValidationReport.model_validate(values | changes)


def predictions(
    labels: Sequence[int],
    predicted: Sequence[int],
    *,
    class_names: Sequence[str] = ("class 0", "class 1"),
    groups: Sequence[str] | None = None,
    confidence: float = 0.9,
) -> Predictions:
    """One image per label; every prediction has the same confidence (> 1 / classes)."""
    images, classes = len(labels), len(class_names)
    probabilities = np.full((images, classes), (1 - confidence) / (classes - 1))
    probabilities[np.arange(images), list(predicted)] = confidence
    return Predictions(
        class_names=list(class_names),
        paths=[f"{n:06}.png" for n in range(images)],
        groups=[f"{n:064x}" for n in range(images)] if groups is None else list(groups),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        probabilities=probabilities,
    )


def predictions_of(
    confusion: Sequence[Sequence[int]],
    class_names: Sequence[str] | None = None,
    confidence: float = 0.9,
) -> Predictions:
    """Predictions with this confusion matrix: rows are true classes."""
    cells = [(t, p) for t, row in enumerate(confusion) for p, n in enumerate(row) for _ in range(n)]
    return predictions(
        [t for t, _ in cells],
        [p for _, p in cells],
        class_names=class_names or [f"class {k}" for k in range(len(confusion))],
        confidence=confidence,
    )


def evaluation(found: Predictions | None = None, **changes: Any) -> Evaluation:
    """What evaluate states about these predictions; without them, 7 of 9 correct."""
    found = found or predictions_of([[3, 1], [1, 4]], ["bad", "good"])
    numbers, per_class, matrix = metrics.compute_metrics(
        np.log(found.probabilities).astype(np.float32), found.labels, found.class_names, 1.0, 15
    )
    values: dict[str, Any] = {
        "metrics": numbers,
        "per_class": per_class,
        "confusion": matrix.tolist(),
        "model_digest": MODEL,
        "data_digest": DATA,
        "test_digest": TEST,
        "predictions_sha256": PREDICTIONS,
    }
    return Evaluation.model_validate(values | changes)


def hyperparameters(**changes: Any) -> Hyperparameters:
    """Of one complete trial of 32 px."""
    values: dict[str, Any] = {
        "learning_rate": 1e-3,
        "epochs": 3,
        "horizontal_flip": True,
        "val_loss": 0.5,
        "val_accuracy": 0.8,
        "image_size": 32,
        "num_train_images": 100,
        "study": "tune-0",
        "trials_complete": 1,
        "trials_pruned": 0,
        "trials_failed": 0,
        "data_digest": DATA,
    }
    return Hyperparameters.model_validate(values | changes)


def gate_policy(**changes: Any) -> GatePolicy:
    """Next to nothing is required: what remains is whether the evidence is valid."""
    values: dict[str, Any] = {
        "confidence_level": 0.95,
        "min_accuracy": 0.0,
        "min_macro_f1": 0.0,
        "min_class_recall": 0.0,
        "min_test_images": 1,
        "min_test_images_per_class": 1,
        "max_ece": None,
        "max_accuracy": None,
        "max_model_mb": None,
        "max_latency_ms": None,
        "champion_test": "non_inferior",
        "non_inferiority_margin": 0.05,
        "max_class_recall_drop": 0.1,
        "max_accuracy_gain": None,
        "max_test_set_uses": 20,
    }
    return GatePolicy.model_validate(values | changes)


def champion_evidence(state: str = "none", **changes: Any) -> ChampionEvidence:
    """A champion in this state, with all that belongs to it."""
    values = {"state": state, "model_digest": "", "predictions_sha256": "", "reason": ""}
    values |= {
        "none": {},
        "same": {"model_digest": MODEL},
        "compared": {"model_digest": CHAMPION, "predictions_sha256": CHAMPION_PREDICTIONS},
        "other_classes": {"model_digest": CHAMPION, "reason": "it also knows cat"},
        "unusable": {"model_digest": CHAMPION, "reason": "no weights"},
        "all_seen": {"model_digest": CHAMPION},
    }[state]
    return ChampionEvidence.model_validate(values | changes)


def evidence(**changes: Any) -> Evidence:
    """Of a first model with the classes bad and good."""
    values: dict[str, Any] = {
        "class_names": ["bad", "good"],
        "model_digest": MODEL,
        "data_digest": DATA,
        "test_digest": TEST,
        "evaluation_sha256": EVALUATION,
        "predictions_sha256": PREDICTIONS,
        "model_bytes": 44_800_000,
        "latency_p95_ms": None,
        "previous_test_uses": 0,
        "leaked_test_images": 0,
        "revoked_reason": "",
        "champion": champion_evidence(),
    }
    return Evidence.model_validate(values | changes)


def data_diff(**changes: Any) -> DataDiff:
    """No champion's data to compare with."""
    values: dict[str, Any] = {
        "baseline": "",
        "unchanged": 0,
        "added": 0,
        "removed": 0,
        "relabeled": 0,
        "moved": 0,
        "largest_shift": None,
        "examples": {},
    }
    return DataDiff.model_validate(values | changes)


def check(name: str = "accuracy", status: str = "pass", **changes: Any) -> Check:
    """A check of the gate: 0.7305, of which 0.7 were required."""
    values: dict[str, Any] = {
        "name": name,
        "value": 0.7305,
        "threshold": ">= 0.700",
        "status": status,
        "message": f"{name} is as it is",
    }
    return Check.model_validate(values | changes)


def outcome(verdict: str = "passed", **changes: Any) -> Outcome:
    """Of a first model with 259 of 333 test images correct, without checks."""
    accuracy = Accuracy(value=259 / 333, low=0.7301, high=0.8191, num_images=333)
    values: dict[str, Any] = {
        "verdict": verdict,
        "first_model": True,
        "accuracy": accuracy,
        "checks": [],
    }
    return Outcome.model_validate(values | changes)


def decision_record(verdict: str = "passed", **changes: Any) -> DecisionRecord:
    """Of version 3 of `cells`, a first model, without checks."""
    values: dict[str, Any] = {
        "outcome": outcome(verdict),
        "policy": gate_policy(),
        "evidence": evidence(),
        "data_diff": data_diff(),
        "model_name": "cells",
        "version": "3",
    }
    return DecisionRecord.model_validate(values | changes)


def training_config(**changes: Any) -> TrainingConfig:
    """Three epochs of 32 px on the CPU, without augmentation, decay, smoothing or warm-up."""
    plain: dict[str, Any] = {
        "learning_rate": 1e-3,
        "epochs": 3,
        "early_stopping": 50,
        "batch_size": 8,
        "augmentation": "none",
        "horizontal_flip": False,
        "rotate_90": False,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "warmup_fraction": 0.0,
        "ema_decay": 0.0,
        "image_size": 32,
        "seed": 0,
        "device": "cpu",
        "precision": "fp32",
        "deterministic": True,
        "class_weights": (1.0, 1.0),
    }
    return TrainingConfig(**(plain | changes))
