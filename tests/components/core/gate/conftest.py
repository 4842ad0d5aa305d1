"""Evidence for the gate, built from plain counts: what evaluate and register would hand over."""

from collections.abc import Sequence
from typing import Any

from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import decide
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy
from components.core.gate.record import Check, Outcome
from tests import factories
from tests.factories import champion_evidence

SOUND = [[90, 10], [20, 80]]  # 170 of 200; recalls 0.9 and 0.8


def policy(**changes: object) -> GatePolicy:
    """Requires nothing at all, but for `changes`."""
    nothing: dict[str, object] = {"non_inferiority_margin": 1.0, "max_class_recall_drop": 1.0}
    return factories.gate_policy(**nothing | changes)


def predictions(
    labels: Sequence[int],
    predicted: Sequence[int],
    *,
    classes: int = 2,
    groups: Sequence[str] | None = None,
) -> Predictions:
    """One image a label; the classes are called class 0, class 1 and so on."""
    names = [f"class {k}" for k in range(classes)]
    return factories.predictions(labels, predicted, class_names=names, groups=groups)


def model_and_champion(
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
    return predictions(labels, model, groups=groups), predictions(labels, champion, groups=groups)


def evidence_of(found: Predictions, **changes: object) -> Evidence:
    """Of a first model, with some fields replaced unchecked."""
    return factories.evidence(class_names=found.class_names).model_copy(update=changes)


def decide_on(
    found: Predictions,
    champion_predictions: Predictions | None = None,
    required: GatePolicy | None = None,
    **changes: Any,
) -> Outcome:
    """The outcome on valid evidence; `changes` replace parts of it unchecked."""
    if champion_predictions is not None:
        changes = {"champion": champion_evidence("compared")} | changes
    evidence = evidence_of(found, **changes)
    return decide(required or policy(), evidence, found, champion_predictions)


def failing(outcome: Outcome) -> list[str]:
    """Names of the checks that found something."""
    return [check.name for check in outcome.checks if check.status not in ("pass", "skipped")]


def row(outcome: Outcome, name: str) -> Check:
    """The check of this name."""
    return {check.name: check for check in outcome.checks}[name]
