"""Whether evidence is fit to decide on: complete, bound by digests, finite, consistent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from components.core.evaluation.predictions import Predictions
from components.core.gate.evidence import Evidence
from components.core.gate.gate_input import GateInput
from components.core.gate.policy import GatePolicy

T = TypeVar("T", bound=BaseModel)

_DIGEST = re.compile("[0-9a-f]{64}")

_SUM_ROUNDING = 1e-6  # of the probabilities of one image


class InvalidEvidence(Exception):
    """The evidence proves nothing; the message says why."""


def build_gate_input(
    policy: GatePolicy,
    evidence: Evidence,
    predictions: Predictions,
    champion_predictions: Predictions | None,
) -> GateInput:
    """Put together what the checks look at, with the champion's classes in the model's order.

    Raises:
        InvalidEvidence: something is missing, broken or contradicts something else.
        ValueError: a value is outside its type's bounds.
    """
    policy = _revalidated(GatePolicy, policy)
    evidence = _revalidated(Evidence, evidence)
    for name in _BINDING:
        digest = getattr(evidence, name)
        _require(_DIGEST.fullmatch(digest), f"{name} is not a SHA-256 digest: {digest!r}")
    _validate_predictions("the model", predictions)
    known = predictions.class_names == evidence.class_names
    _require(known, "the predictions are about other classes than the evidence")
    _validate_champion(evidence, champion_predictions)
    if champion_predictions is not None:
        seen = evidence.champion.seen_test_images
        champion_predictions = _align(champion_predictions, predictions, seen)
    return GateInput(policy, evidence, predictions, champion_predictions)


_BINDING = (
    "model_digest",
    "data_digest",
    "test_digest",
    "predictions_sha256",
    "evaluation_sha256",
)


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise InvalidEvidence(problem)


def _revalidated(kind: type[T], model: object) -> T:
    """Validate again: a model that was built around its validators must not pass the gate."""
    if not isinstance(model, kind):
        raise InvalidEvidence(f"no {kind.__name__} was given")
    return kind.model_validate(model.model_dump(warnings=False))


def _validate_predictions(whose: str, found: object) -> None:
    _require(isinstance(found, Predictions), f"{whose} has no predictions")
    assert isinstance(found, Predictions)
    names, images = found.class_names, len(found.paths)
    _require(_distinct_texts(names), f"{whose}: the class names are not distinct names")
    _require(_distinct_texts(found.paths), f"{whose}: no test image, or one is there twice")
    _require(found.paths == sorted(found.paths), f"{whose}: the images are not sorted")
    _require(_texts(found.groups) and len(found.groups) == images, f"{whose}: broken groups")
    for what, column in (("labels", found.labels), ("predictions", found.predicted)):
        _require(_are_classes(column, images, len(names)), f"{whose}: the {what} are not classes")
    _validate_probabilities(whose, found)


def _texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) and v for v in values)


def _distinct_texts(values: Sequence[str]) -> bool:
    return _texts(values) and 0 < len(values) == len(set(values))


def _are_classes(column: object, images: int, classes: int) -> bool:
    return (
        isinstance(column, np.ndarray)
        and column.dtype.kind == "i"
        and column.shape == (images,)
        and bool(((column >= 0) & (column < classes)).all())
    )


def _validate_probabilities(whose: str, found: Predictions) -> None:
    table: NDArray[np.float64] = found.probabilities
    _require(
        isinstance(table, np.ndarray)
        and table.dtype.kind == "f"
        and table.shape == (len(found.paths), len(found.class_names)),
        f"{whose}: the probabilities are not a table of images and classes",
    )
    # A comparison with NaN is false, so broken numbers fail here too.
    _require(((table >= 0) & (table <= 1)).all(), f"{whose}: a probability is not in 0..1")
    sums = np.abs(table.sum(axis=1) - 1)
    _require((sums <= _SUM_ROUNDING).all(), f"{whose}: probabilities do not sum to 1")
    given = table[np.arange(len(table)), found.predicted]
    likeliest = (given == table.max(axis=1)).all()
    _require(likeliest, f"{whose}: a predicted class is not the likeliest one")


def _validate_champion(evidence: Evidence, predictions: Predictions | None) -> None:
    """The champion's state, its digests and its predictions must agree."""
    champion, compared = evidence.champion, evidence.champion.state == "compared"
    _require(
        (predictions is not None) == compared,
        "the champion's predictions are missing, or there should be none",
    )
    _require(
        bool(_DIGEST.fullmatch(champion.predictions_sha256)) == compared,
        "the digest of the champion's predictions is missing, or there should be none",
    )
    same = champion.model_digest == evidence.model_digest
    seen = champion.seen_test_images
    may_know = seen == 0 or champion.state in ("compared", "all_seen")
    _require(may_know, "test images are stated to be seen by a champion that was not compared")
    if champion.state == "none":
        _require(not champion.model_digest, "there is no champion, but it has a digest")
    elif champion.state == "same":
        _require(same, "this model is stated to be the champion, but has another digest")
    elif champion.state == "compared":
        known = _DIGEST.fullmatch(champion.model_digest)
        _require(known and not same, "the model is compared with itself or with an unknown model")
    elif champion.state == "all_seen":
        _require(seen > 0, "the champion has seen all test images, but none is stated")
    else:
        _require(champion.reason, "the reason why the champion cannot be compared is missing")


def _align(champion: Predictions, model: Predictions, seen: int) -> Predictions:
    _validate_predictions("the champion", champion)
    total = len(model.paths)
    _require(sorted(champion.class_names) == sorted(model.class_names),
             "the champion knows other classes, so it cannot have been compared")  # fmt: skip
    champion = champion.in_order_of(model.class_names)
    model = model.among(champion.paths) if seen else model
    complete = len(champion.paths) + seen == total and champion.paths == model.paths
    _require(complete, "the champion was evaluated on other images")
    _require(champion.groups == model.groups, "the champion's images are grouped in another way")
    _require((champion.labels == model.labels).all(), "the champion's images have other labels")
    return champion
