"""Whether evidence is fit to be judged: complete, bound by digests, finite, not contradictory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from components.core.artifacts import Evaluation
from components.core.evaluation import metrics
from components.core.evaluation.intervals import wilson_interval
from components.core.evaluation.predictions import Predictions
from components.core.gate.evidence import Evidence
from components.core.gate.gate_input import Case
from components.core.gate.policy import GatePolicy

T = TypeVar("T", bound=BaseModel)

_DIGEST = re.compile("[0-9a-f]{64}")

# Numbers may differ by this much from the recomputed ones, sums of probabilities by more.
_ROUNDING, _SUM_ROUNDING = 1e-9, 1e-6


class InvalidEvidence(Exception):
    """The evidence proves nothing; the message says why."""


def build_case(
    policy: GatePolicy,
    evidence: Evidence,
    stated: Evaluation,
    answers: Predictions,
    rival: Predictions | None,
) -> Case:
    """Put together what the checks judge, with the champion's classes in the model's order.

    Raises:
        InvalidEvidence: something is missing, broken or contradicts something else.
        ValueError: a value is outside its type's bounds.
    """
    policy = _revalidated(GatePolicy, policy)
    evidence = _revalidated(Evidence, evidence)
    stated = _revalidated(Evaluation, stated)
    _require_bound(evidence, stated)
    _require_sound("the model", answers)
    _require(answers.class_names == evidence.class_names, "the answers are about other classes")
    _require_fitting(evidence, rival)
    if rival is not None:
        rival = _aligned(rival, answers)
    case = Case(policy, evidence, answers, rival)
    _require_true(stated, case)
    return case


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise InvalidEvidence(problem)


def _revalidated(kind: type[T], model: object) -> T:
    """Validate again: a model that was built around its validators must not pass the gate."""
    if not isinstance(model, kind):
        raise InvalidEvidence(f"no {kind.__name__} was given")
    return kind.model_validate(model.model_dump(warnings=False))


def _require_bound(evidence: Evidence, stated: Evaluation) -> None:
    """One model, one data set, one test set, one file of answers."""
    for name in ("model_digest", "data_digest", "test_digest", "predictions_sha256"):
        found, wanted = getattr(stated, name), getattr(evidence, name)
        _require(_DIGEST.fullmatch(wanted), f"{name} is no SHA-256 digest: {wanted!r}")
        _require(found == wanted, f"the evaluation is about another {name} than the evidence")
    _require(_DIGEST.fullmatch(evidence.evaluation_sha256), "evaluation_sha256 is no digest")


def _require_sound(whose: str, answers: object) -> None:
    _require(isinstance(answers, Predictions), f"{whose} gave no answers")
    assert isinstance(answers, Predictions)
    names, images = answers.class_names, len(answers.paths)
    _require(_distinct_texts(names), f"{whose}: the class names are not distinct names")
    _require(_distinct_texts(answers.paths), f"{whose}: no test image, or one answered twice")
    _require(answers.paths == sorted(answers.paths), f"{whose}: the images are not sorted")
    _require(_texts(answers.groups) and len(answers.groups) == images, f"{whose}: broken groups")
    for words, column in (("labels", answers.labels), ("answers", answers.predicted)):
        _require(_are_classes(column, images, len(names)), f"{whose}: {words} are no classes")
    _require_probabilities(whose, answers)


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


def _require_probabilities(whose: str, answers: Predictions) -> None:
    table: NDArray[np.float64] = answers.probabilities
    _require(
        isinstance(table, np.ndarray)
        and table.dtype.kind == "f"
        and table.shape == (len(answers.paths), len(answers.class_names)),
        f"{whose}: the probabilities are no table of images and classes",
    )
    # A comparison with NaN is false, so broken numbers fail here too.
    _require(((table >= 0) & (table <= 1)).all(), f"{whose}: a probability is not in 0..1")
    sums = np.abs(table.sum(axis=1) - 1)
    _require((sums <= _SUM_ROUNDING).all(), f"{whose}: probabilities do not sum to 1")
    given = table[np.arange(len(table)), answers.predicted]
    _require((given == table.max(axis=1)).all(), f"{whose}: an answer is not its likeliest class")


def _require_fitting(evidence: Evidence, rival: Predictions | None) -> None:
    """The champion's state, its digests and its answers tell one story."""
    champion, compared = evidence.champion, evidence.champion.state == "compared"
    _require(
        (rival is not None) == compared, "the champion's answers are missing, or not asked for"
    )
    _require(
        bool(_DIGEST.fullmatch(champion.predictions_sha256)) == compared,
        "the digest of the champion's answers is missing, or not asked for",
    )
    same = champion.model_digest == evidence.model_digest
    if champion.state == "none":
        _require(not champion.model_digest, "there is no champion, but it has a digest")
    elif champion.state == "same":
        _require(same, "the champion is said to be this model, but has another digest")
    elif champion.state == "compared":
        known = _DIGEST.fullmatch(champion.model_digest)
        _require(known and not same, "the model is compared with itself or with nobody knows what")
    else:
        _require(champion.reason, "it is not said why the champion cannot be compared with")


def _aligned(rival: Predictions, answers: Predictions) -> Predictions:
    _require_sound("the champion", rival)
    _require(sorted(rival.class_names) == sorted(answers.class_names),
             "the champion knows other classes, so that it cannot have been compared")  # fmt: skip
    rival = rival.in_order_of(answers.class_names)
    _require(rival.paths == answers.paths, "the champion answered other images")
    _require(rival.groups == answers.groups, "the champion's images are grouped in another way")
    _require((rival.labels == answers.labels).all(), "the champion's images have other labels")
    return rival


def _require_true(stated: Evaluation, case: Case) -> None:
    """Every number that evaluate stated follows from the answers."""
    names = [c.name for c in stated.per_class]
    _require(names == case.answers.class_names, "the evaluation is about other classes")
    _require(
        stated.confusion == case.matrix.tolist(),
        "the confusion matrix is not the one that the answers give",
    )
    for name, value, found in _statements(stated, case):
        if value != found and not _close(value, found):
            raise InvalidEvidence(
                f"{name} is stated as {_show(value)}, but the answers give {_show(found)}"
            )


def _close(value: float | None, found: float | None) -> bool:
    return value is not None and found is not None and abs(value - found) <= _ROUNDING


def _show(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.9g}"


def _statements(stated: Evaluation, case: Case) -> Iterator[tuple[str, float | None, float | None]]:
    """Each number: its name, as stated, as recomputed.

    Not the calibration errors: evaluate chooses its number of bins, and the one before temperature
    scaling does not follow from the answers.
    """
    answers, matrix = case.answers, case.matrix
    correct, counts = int(case.correct.sum()), matrix.sum(axis=1)
    per_class = metrics.class_metrics(matrix, answers.class_names)
    low, high = wilson_interval(correct, case.total, 0.95)
    found: dict[str, float | None] = {
        "num_images": case.total,
        "accuracy": correct / case.total,
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": metrics.balanced_accuracy(per_class),
        "macro_f1": metrics.macro_f1(per_class),
        "log_loss": metrics.log_loss(answers.probabilities, answers.labels),
        "roc_auc": metrics.roc_auc(answers.probabilities, answers.labels),
        "majority_class_accuracy": int(counts.max()) / case.total,
    }
    for name, value in found.items():
        yield name, getattr(stated.metrics, name), value
    for said, counted in zip(stated.per_class, per_class, strict=True):
        for name in ("precision", "recall", "f1", "support"):
            yield f"{name} of {counted.name}", getattr(said, name), getattr(counted, name)
