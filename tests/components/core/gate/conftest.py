"""Evidence for the gate, built from plain counts: what evaluate and register would hand over."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.core.artifacts import Evaluation, Metrics
from components.core.evaluation import metrics
from components.core.evaluation.intervals import wilson_interval
from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import decide
from components.core.gate.evidence import ChampionEvidence, Evidence
from components.core.gate.policy import GatePolicy
from components.core.gate.record import Check, Decision

MODEL, CHAMPION, OTHER = "a" * 64, "c" * 64, "d" * 64

SOUND = [[90, 10], [20, 80]]  # 170 of 200; recalls 0.9 and 0.8


def policy(**changes: object) -> GatePolicy:
    """Demands next to nothing, but for `changes`."""
    easy: dict[str, object] = {
        "confidence": 0.95,
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
        "margin": 1.0,
        "max_class_recall_drop": 1.0,
        "max_accuracy_gain": None,
        "max_test_set_uses": 20,
    }
    return GatePolicy.model_validate(easy | changes)


def answers(
    labels: Sequence[int],
    predicted: Sequence[int],
    *,
    classes: int = 2,
    groups: Sequence[str] | None = None,
    certainty: float = 0.9,
) -> Predictions:
    """One image a label; every answer is given with the same certainty (> 1 / classes)."""
    images = len(labels)
    probabilities = np.full((images, classes), (1 - certainty) / (classes - 1))
    probabilities[np.arange(images), list(predicted)] = certainty
    return Predictions(
        class_names=[f"class {k}" for k in range(classes)],
        paths=[f"{n:06}.png" for n in range(images)],
        groups=[f"{n:064x}" for n in range(images)] if groups is None else list(groups),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        probabilities=probabilities,
    )


def from_matrix(matrix: Sequence[Sequence[int]], certainty: float = 0.9) -> Predictions:
    """Answers with this confusion matrix: rows are true classes."""
    cells = [(t, p) for t, row in enumerate(matrix) for p, n in enumerate(row) for _ in range(n)]
    labels, predicted = [t for t, _ in cells], [p for _, p in cells]
    return answers(labels, predicted, classes=len(matrix), certainty=certainty)


def duel(
    gained: int, lost: int, total: int, *, right: int = 0, groups: Sequence[str] | None = None
) -> tuple[Predictions, Predictions]:
    """A model and the champion on `total` images of class 0 and one of class 1.

    Args:
        gained: images that only the model gets right.
        lost: images that only the champion gets right.
        total: all images.
        right: images that both get right, besides that of class 1, which is the last.
        groups: of the images.
    """
    model = [0] * gained + [1] * lost + [0] * right + [1] * (total - gained - lost - right)
    champion = [1] * gained + [0] * lost + [0] * right + [1] * (total - gained - lost - right)
    labels = [0] * (total - 1) + [1]
    return answers(labels, model, groups=groups), answers(labels, champion, groups=groups)


def evaluation_of(found: Predictions, **changes: object) -> Evaluation:
    """What evaluate states about these answers, with some metrics replaced unchecked."""
    matrix = metrics.confusion(found.labels, found.predicted, len(found.class_names))
    per_class = metrics.class_metrics(matrix, found.class_names)
    interval = wilson_interval(int(np.trace(matrix)), len(found.labels), 0.95)
    stated = Metrics(
        num_images=len(found.labels),
        accuracy=metrics.accuracy(matrix),
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        balanced_accuracy=metrics.balanced_accuracy(per_class),
        macro_f1=metrics.macro_f1(per_class),
        log_loss=metrics.log_loss(found.probabilities, found.labels),
        ece=0.02,
        ece_uncalibrated=0.05,
        roc_auc=metrics.roc_auc(found.probabilities, found.labels),
        majority_class_accuracy=int(matrix.sum(axis=1).max()) / len(found.labels),
    )
    return Evaluation(
        metrics=stated.model_copy(update=changes),
        per_class=per_class,
        confusion=matrix.tolist(),
        model_digest=MODEL,
        data_digest="b" * 64,
        test_digest="e" * 64,
        predictions_sha256="f" * 64,
    )


def incumbent(state: str, **changes: object) -> ChampionEvidence:
    """A champion in this state, with all that belongs to it."""
    fields: dict[str, dict[str, str]] = {
        "none": {"model_digest": "", "predictions_sha256": "", "reason": ""},
        "same": {"model_digest": MODEL, "predictions_sha256": "", "reason": ""},
        "compared": {"model_digest": CHAMPION, "predictions_sha256": OTHER, "reason": ""},
        "other_classes": {"model_digest": CHAMPION, "predictions_sha256": "", "reason": "also cat"},
        "unusable": {"model_digest": CHAMPION, "predictions_sha256": "", "reason": "no weights"},
    }
    return ChampionEvidence.model_validate({"state": state} | fields[state] | changes)


def evidence_of(found: Predictions, **changes: object) -> Evidence:
    """Of a first model, with some fields replaced unchecked."""
    sound = Evidence(
        class_names=found.class_names,
        model_digest=MODEL,
        data_digest="b" * 64,
        test_digest="e" * 64,
        evaluation_sha256="1" * 64,
        predictions_sha256="f" * 64,
        model_bytes=44_800_000,
        latency_p95_ms=None,
        previous_test_uses=0,
        leaked_test_images=0,
        revoked_reason="",
        champion=incumbent("none"),
    )
    return sound.model_copy(update=changes)


def judge(
    found: Predictions,
    rival: Predictions | None = None,
    wanted: GatePolicy | None = None,
    **changes: Any,
) -> Decision:
    """The decision on sound evidence; `changes` replace parts of it unchecked."""
    if rival is not None:
        changes = {"champion": incumbent("compared")} | changes
    evidence = evidence_of(found, **changes)
    return decide(wanted or policy(), evidence, evaluation_of(found), found, rival)


def failing(decision: Decision) -> list[str]:
    """Names of the checks that did not pass."""
    return [check.name for check in decision.checks if check.verdict != "promote"]


def row(decision: Decision, name: str) -> Check:
    """The check of this name."""
    return {check.name: check for check in decision.checks}[name]
