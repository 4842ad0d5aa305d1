import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import decide
from components.core.gate.record import Decision
from tests.components.core.gate.conftest import (
    CHAMPION,
    MODEL,
    OTHER,
    SOUND,
    answers,
    duel,
    evaluation_of,
    evidence_of,
    from_matrix,
    incumbent,
    judge,
    policy,
)

ANSWERS = from_matrix(SOUND)


def refusal(decision: Decision) -> str:
    assert decision.verdict == "error"
    assert [check.name for check in decision.checks] == ["evidence"]
    return decision.checks[0].reason


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"log_loss": math.nan}, "log_loss is stated as nan"),
        ({"log_loss": math.inf}, "log_loss is stated as inf"),
        ({"log_loss": 0.4}, "log_loss is stated as 0.4, but the answers give 0.434"),
        ({"roc_auc": math.nan}, "roc_auc"),
        ({"roc_auc": None}, "roc_auc is stated as undefined, but the answers give 0.85"),
        ({"roc_auc": 0.86}, "roc_auc is stated as 0.86"),
        ({"accuracy": math.nan}, "accuracy"),
        ({"accuracy": None}, "accuracy"),
        ({"accuracy": 0.85 + 2e-9}, "accuracy is stated as 0.850000002"),
        ({"accuracy_low": 0.7}, "accuracy_low"),
        ({"accuracy_high": 0.99}, "accuracy_high"),
        ({"macro_f1": 0.9}, "macro_f1"),
        ({"balanced_accuracy": 0.9}, "balanced_accuracy"),
        ({"majority_class_accuracy": 0.6}, "majority_class_accuracy"),
        ({"ece": math.nan}, "ece"),
        ({"num_images": 199}, "num_images is stated as 199"),
        ({"num_images": "many"}, "num_images"),
    ],
)
def test_a_metric_that_is_not_finite_or_not_true_is_an_error(
    changes: dict[str, object], named: str
) -> None:
    stated = evaluation_of(ANSWERS, **changes)
    assert named in refusal(decide(policy(), evidence_of(ANSWERS), stated, ANSWERS, None))


@pytest.mark.parametrize("shift", [0, 9e-10])
def test_a_number_may_be_rounded_in_the_tenth_place(shift: float) -> None:
    stated = evaluation_of(ANSWERS, accuracy=0.85 + shift)
    assert decide(policy(), evidence_of(ANSWERS), stated, ANSWERS, None).verdict == "promote"


def test_a_metric_that_does_not_exist_must_be_stated_as_missing() -> None:
    one_class = answers([0, 0, 0], [0, 1, 0])
    assert judge(one_class).verdict == "hold"
    invented = evaluation_of(one_class, roc_auc=0.9)
    decision = decide(policy(), evidence_of(one_class), invented, one_class, None)
    assert refusal(decision) == "roc_auc is stated as 0.9, but the answers give undefined"


@pytest.mark.parametrize(
    ("field", "value"),
    [("support", 99), ("recall", 0.91), ("precision", 0.5), ("f1", 0.5), ("recall", math.nan),
     ("name", "class 7")],
)  # fmt: skip
def test_a_class_that_disagrees_with_the_answers_is_an_error(field: str, value: object) -> None:
    stated = evaluation_of(ANSWERS)
    edited = stated.per_class[0].model_copy(update={field: value})
    stated = stated.model_copy(update={"per_class": [edited, stated.per_class[1]]})
    assert refusal(decide(policy(), evidence_of(ANSWERS), stated, ANSWERS, None))


@pytest.mark.parametrize(
    "confusion",
    [[[91, 9], [20, 80]], [[90, 10], [20]], [[90, 10]], [], [[90.5, 9.5], [20, 80]], None],
)
def test_another_confusion_matrix_than_that_of_the_answers_is_an_error(confusion: object) -> None:
    stated = evaluation_of(ANSWERS).model_copy(update={"confusion": confusion})
    assert "confusion" in refusal(decide(policy(), evidence_of(ANSWERS), stated, ANSWERS, None))


@pytest.mark.parametrize(
    "field", ["model_digest", "data_digest", "test_digest", "predictions_sha256"]
)
def test_evidence_and_evaluation_about_different_things_are_an_error(field: str) -> None:
    stated = evaluation_of(ANSWERS).model_copy(update={field: "9" * 64})
    decision = decide(policy(), evidence_of(ANSWERS), stated, ANSWERS, None)
    assert refusal(decision) == f"the evaluation is about another {field} than the evidence"


@pytest.mark.parametrize(
    "field",
    ["model_digest", "data_digest", "test_digest", "predictions_sha256", "evaluation_sha256"],
)
@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 65, "\n" + "a" * 64])
def test_a_digest_that_binds_nothing_is_an_error(field: str, digest: str) -> None:
    stated = evaluation_of(ANSWERS)
    if field != "evaluation_sha256":
        stated = stated.model_copy(update={field: digest})
    evidence = evidence_of(ANSWERS, **{field: digest})
    assert field in refusal(decide(policy(), evidence, stated, ANSWERS, None))


def cut(name: str) -> Callable[[Predictions], Predictions]:
    return lambda found: replace(found, **{name: getattr(found, name)[:-1]})


def put(
    name: str, row: int | tuple[int, int], value: object
) -> Callable[[Predictions], Predictions]:
    def change(found: Predictions) -> Predictions:
        column = getattr(found, name).copy()
        column[row] = value
        return replace(found, **{name: column})

    return change


def become(name: str, value: object) -> Callable[[Predictions], Predictions]:
    changes: dict[str, Any] = {name: value}
    return lambda found: replace(found, **changes)


def cast(name: str, kind: str) -> Callable[[Predictions], Predictions]:
    return lambda found: replace(found, **{name: getattr(found, name).astype(kind)})


FLAWS: dict[str, tuple[Callable[[Predictions], Predictions], str]] = {
    "no images": (become("paths", []), "no test image"),
    "an image missing": (cut("paths"), "broken groups"),
    "a group missing": (cut("groups"), "broken groups"),
    "a label missing": (cut("labels"), "labels are no classes"),
    "an answer missing": (cut("predicted"), "answers are no classes"),
    "a row missing": (cut("probabilities"), "no table of images and classes"),
    "an image twice": (put("paths", 0, "000001.png"), "one answered twice"),
    "images out of order": (put("paths", 0, "z.png"), "not sorted"),
    "an image without a name": (put("paths", 0, ""), "no test image"),
    "a number for a path": (put("paths", 0, 0), "no test image"),
    "a tuple of paths": (become("paths", tuple(ANSWERS.paths)), "no test image"),
    "a group without a name": (put("groups", 0, ""), "broken groups"),
    "a number for a group": (put("groups", 0, 3), "broken groups"),
    "a class twice": (put("class_names", 0, "class 1"), "distinct"),
    "no classes": (become("class_names", []), "distinct"),
    "a class without a name": (put("class_names", 0, ""), "distinct"),
    "a label too large": (put("labels", 0, 2), "labels are no classes"),
    "a negative label": (put("labels", 0, -1), "labels are no classes"),
    "an answer too large": (put("predicted", 0, 2), "answers are no classes"),
    "a negative answer": (put("predicted", 0, -1), "answers are no classes"),
    "labels as floats": (cast("labels", "float64"), "labels are no classes"),
    "answers as booleans": (cast("predicted", "bool"), "answers are no classes"),
    "labels as a list": (become("labels", ANSWERS.labels.tolist()), "labels are no classes"),
    "labels in a table": (become("labels", ANSWERS.labels[:, None]), "labels are no classes"),
    "a probability of NaN": (put("probabilities", (0, 0), math.nan), "not in 0..1"),
    "an infinite probability": (put("probabilities", (0, 0), math.inf), "not in 0..1"),
    "a negative probability": (put("probabilities", 0, [1.1, -0.1]), "not in 0..1"),
    "a probability above 1": (put("probabilities", 0, [1.0000001, 0]), "not in 0..1"),
    "a sum below 1": (put("probabilities", 0, [0.9, 0.1 - 2e-6]), "do not sum to 1"),
    "a sum above 1": (put("probabilities", 0, [0.9, 0.1 + 2e-6]), "do not sum to 1"),
    "another answer than the likeliest": (put("predicted", 0, 1), "not its likeliest class"),
    "whole probabilities": (cast("probabilities", "int64"), "no table of images and classes"),
    "probabilities as a list": (become("probabilities", [[1.0, 0.0]] * 200), "no table"),
    "a column too many": (
        lambda found: replace(found, probabilities=np.pad(found.probabilities, ((0, 0), (0, 1)))),
        "no table of images and classes",
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_broken_answers_are_an_error_whoever_gave_them(flaw: str) -> None:
    change, named = FLAWS[flaw]
    evidence, stated = evidence_of(ANSWERS), evaluation_of(ANSWERS)
    reason = refusal(decide(policy(), evidence, stated, change(ANSWERS), None))
    assert reason.startswith("the model")
    assert named in reason
    evidence = evidence_of(ANSWERS, champion=incumbent("compared"))
    reason = refusal(decide(policy(), evidence, stated, ANSWERS, change(ANSWERS)))
    assert reason.startswith("the champion")
    assert named in reason


@pytest.mark.parametrize("row", [[0.9, 0.1 - 9e-7], [0.5, 0.5], [1, 0]])
def test_rounded_sums_and_ties_are_sound(row: list[float]) -> None:
    assert judge(put("probabilities", 0, row)(ANSWERS)).verdict == "promote"


def test_answers_that_are_none_are_an_error_in_plain_words() -> None:
    none: Any = None
    decision = decide(policy(), evidence_of(ANSWERS), evaluation_of(ANSWERS), none, None)
    assert refusal(decision) == "the model gave no answers"


def test_answers_about_other_classes_than_the_evidence_names_are_an_error() -> None:
    decision = judge(ANSWERS, class_names=["class 1", "class 0"])
    assert refusal(decision) == "the answers are about other classes"


STORIES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "compared without answers": ({"state": "compared"}, False, "missing, or not asked for"),
    "answers of nobody": ({"state": "none"}, True, "missing, or not asked for"),
    "answers of itself": ({"state": "same"}, True, "missing, or not asked for"),
    "answers of a broken one": ({"state": "unusable"}, True, "missing, or not asked for"),
    "answers about other classes": ({"state": "other_classes"}, True, "missing, or not asked for"),
    "compared with unbound answers": (
        {"state": "compared", "predictions_sha256": ""},
        True,
        "digest of the champion's answers",
    ),
    "bound answers of nobody": (
        {"state": "none", "predictions_sha256": OTHER},
        False,
        "digest of the champion's answers",
    ),
    "a digest of nobody": (
        {"state": "none", "model_digest": CHAMPION},
        False,
        "no champion, but it has a digest",
    ),
    "the same with another digest": (
        {"state": "same", "model_digest": CHAMPION},
        False,
        "another digest",
    ),
    "compared with itself": ({"state": "compared", "model_digest": MODEL}, True, "with itself"),
    "compared with no digest": ({"state": "compared", "model_digest": ""}, True, "nobody knows"),
    "unusable without a reason": ({"state": "unusable", "reason": ""}, False, "not said why"),
    "other classes without a reason": (
        {"state": "other_classes", "reason": ""},
        False,
        "not said why",
    ),
    "a state that nobody knows": ({"state": "compared"}, True, "Input should be"),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_champion_whose_story_does_not_fit_is_an_error(story: str) -> None:
    changes, given, named = STORIES[story]
    champion = incumbent(**changes)
    if "nobody knows" in story:
        champion = champion.model_copy(update={"state": "champion"})
    rival = duel(3, 2, 200)[1] if given else None
    assert named in refusal(judge(duel(3, 2, 200)[0], rival, champion=champion))


RIVALS: dict[str, tuple[Callable[[Predictions], Predictions], str]] = {
    "other images": (put("paths", 199, "z.png"), "other images"),
    "other groups": (put("groups", 0, "x"), "grouped in another way"),
    "other labels": (put("labels", 0, 1), "other labels"),
    "other classes": (put("class_names", 0, "cat"), "knows other classes"),
}


@pytest.mark.parametrize("kind", RIVALS)
def test_a_champion_that_answered_something_else_is_an_error(kind: str) -> None:
    change, named = RIVALS[kind]
    found, rival = duel(3, 2, 200)
    assert named in refusal(judge(found, change(rival)))


def test_a_champion_with_fewer_images_is_an_error() -> None:
    assert "other images" in refusal(judge(duel(3, 2, 200)[0], duel(3, 2, 199)[1]))


def test_classes_of_the_champion_are_matched_by_name_whatever_their_order() -> None:
    found, rival = duel(5, 2, 200, right=150)
    reordered = rival.in_order_of(["class 1", "class 0"])
    assert reordered.labels.tolist() != rival.labels.tolist()
    assert judge(found, reordered) == judge(found, rival)
