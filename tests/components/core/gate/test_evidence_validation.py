import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import decide
from components.core.gate.record import Outcome
from tests.components.core.gate.conftest import (
    SOUND,
    decide_on,
    evidence_of,
    model_and_champion,
    policy,
)
from tests.factories import CHAMPION, CHAMPION_PREDICTIONS, MODEL, champion_evidence, predictions_of

PREDICTIONS = predictions_of(SOUND)


def refusal(outcome: Outcome) -> str:
    assert outcome.verdict == "error"
    assert [check.name for check in outcome.checks] == ["evidence"]
    return outcome.checks[0].message


@pytest.mark.parametrize(
    "field",
    ["model_digest", "data_digest", "test_digest", "predictions_sha256", "evaluation_sha256"],
)
@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 65, "\n" + "a" * 64])
def test_a_digest_that_binds_nothing_is_an_error(field: str, digest: str) -> None:
    evidence = evidence_of(PREDICTIONS, **{field: digest})
    assert field in refusal(decide(policy(), evidence, PREDICTIONS, None))


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
    "a label missing": (cut("labels"), "labels are not classes"),
    "a prediction missing": (cut("predicted"), "predictions are not classes"),
    "a row missing": (cut("probabilities"), "not a table of images and classes"),
    "an image twice": (put("paths", 0, "000001.png"), "one is there twice"),
    "images out of order": (put("paths", 0, "z.png"), "not sorted"),
    "an image without a name": (put("paths", 0, ""), "no test image"),
    "a number for a path": (put("paths", 0, 0), "no test image"),
    "a tuple of paths": (become("paths", tuple(PREDICTIONS.paths)), "no test image"),
    "a group without a name": (put("groups", 0, ""), "broken groups"),
    "a number for a group": (put("groups", 0, 3), "broken groups"),
    "a class twice": (put("class_names", 0, "class 1"), "distinct"),
    "no classes": (become("class_names", []), "distinct"),
    "a class without a name": (put("class_names", 0, ""), "distinct"),
    "a label too large": (put("labels", 0, 2), "labels are not classes"),
    "a negative label": (put("labels", 0, -1), "labels are not classes"),
    "a prediction too large": (put("predicted", 0, 2), "predictions are not classes"),
    "a negative prediction": (put("predicted", 0, -1), "predictions are not classes"),
    "labels as floats": (cast("labels", "float64"), "labels are not classes"),
    "predictions as booleans": (cast("predicted", "bool"), "predictions are not classes"),
    "labels as a list": (become("labels", PREDICTIONS.labels.tolist()), "labels are not classes"),
    "labels in a table": (become("labels", PREDICTIONS.labels[:, None]), "labels are not classes"),
    "a probability of NaN": (put("probabilities", (0, 0), math.nan), "not in 0..1"),
    "an infinite probability": (put("probabilities", (0, 0), math.inf), "not in 0..1"),
    "a negative probability": (put("probabilities", 0, [1.1, -0.1]), "not in 0..1"),
    "a probability above 1": (put("probabilities", 0, [1.0000001, 0]), "not in 0..1"),
    "a sum below 1": (put("probabilities", 0, [0.9, 0.1 - 2e-6]), "do not sum to 1"),
    "a sum above 1": (put("probabilities", 0, [0.9, 0.1 + 2e-6]), "do not sum to 1"),
    "another class than the likeliest": (put("predicted", 0, 1), "not the likeliest one"),
    "whole probabilities": (cast("probabilities", "int64"), "not a table of images and classes"),
    "probabilities as a list": (become("probabilities", [[1.0, 0.0]] * 200), "not a table"),
    "a column too many": (
        lambda found: replace(found, probabilities=np.pad(found.probabilities, ((0, 0), (0, 1)))),
        "not a table of images and classes",
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_broken_predictions_are_an_error_whoever_made_them(flaw: str) -> None:
    change, named = FLAWS[flaw]
    evidence = evidence_of(PREDICTIONS)
    reason = refusal(decide(policy(), evidence, change(PREDICTIONS), None))
    assert reason.startswith("the model")
    assert named in reason
    evidence = evidence_of(PREDICTIONS, champion=champion_evidence("compared"))
    reason = refusal(decide(policy(), evidence, PREDICTIONS, change(PREDICTIONS)))
    assert reason.startswith("the champion")
    assert named in reason


@pytest.mark.parametrize("row", [[0.9, 0.1 - 9e-7], [0.5, 0.5], [1, 0]])
def test_rounded_sums_and_ties_are_sound(row: list[float]) -> None:
    assert decide_on(put("probabilities", 0, row)(PREDICTIONS)).verdict == "passed"


def test_predictions_that_are_none_are_an_error_in_plain_words() -> None:
    none: Any = None
    outcome = decide(policy(), evidence_of(PREDICTIONS), none, None)
    assert refusal(outcome) == "the model has no predictions"


def test_predictions_about_other_classes_than_the_evidence_names_are_an_error() -> None:
    outcome = decide_on(PREDICTIONS, class_names=["class 1", "class 0"])
    assert refusal(outcome) == "the predictions are about other classes than the evidence"


STORIES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "compared without predictions": (
        {"state": "compared"},
        False,
        "missing, or there should be none",
    ),
    "predictions of nobody": ({"state": "none"}, True, "missing, or there should be none"),
    "predictions of itself": ({"state": "same"}, True, "missing, or there should be none"),
    "predictions of a broken one": (
        {"state": "unusable"},
        True,
        "missing, or there should be none",
    ),
    "predictions about other classes": (
        {"state": "other_classes"},
        True,
        "missing, or there should be none",
    ),
    "compared with unbound predictions": (
        {"state": "compared", "predictions_sha256": ""},
        True,
        "digest of the champion's predictions",
    ),
    "bound predictions of nobody": (
        {"state": "none", "predictions_sha256": CHAMPION_PREDICTIONS},
        False,
        "digest of the champion's predictions",
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
    "compared with no digest": ({"state": "compared", "model_digest": ""}, True, "unknown model"),
    "unusable without a reason": ({"state": "unusable", "reason": ""}, False, "reason why"),
    "other classes without a reason": (
        {"state": "other_classes", "reason": ""},
        False,
        "reason why",
    ),
    "an unknown state": ({"state": "compared"}, True, "Input should be"),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_champion_whose_state_and_digests_disagree_is_an_error(story: str) -> None:
    changes, given, named = STORIES[story]
    opponent = champion_evidence(**changes)
    if "unknown state" in story:
        opponent = opponent.model_copy(update={"state": "champion"})
    found, champion = model_and_champion(3, 2, 200)
    outcome = decide_on(found, champion if given else None, champion=opponent)
    assert named in refusal(outcome)


OTHERS: dict[str, tuple[Callable[[Predictions], Predictions], str]] = {
    "other images": (put("paths", 199, "z.png"), "other images"),
    "other groups": (put("groups", 0, "x"), "grouped in another way"),
    "other labels": (put("labels", 0, 1), "other labels"),
    "other classes": (put("class_names", 0, "cat"), "knows other classes"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_champion_evaluated_on_something_else_is_an_error(kind: str) -> None:
    change, named = OTHERS[kind]
    found, champion = model_and_champion(3, 2, 200)
    assert named in refusal(decide_on(found, change(champion)))


def test_a_champion_with_fewer_images_is_an_error() -> None:
    assert "other images" in refusal(
        decide_on(model_and_champion(3, 2, 200)[0], model_and_champion(3, 2, 199)[1])
    )


def test_classes_of_the_champion_are_matched_by_name_whatever_their_order() -> None:
    found, champion = model_and_champion(5, 2, 200, right=150)
    reordered = champion.in_order_of(["class 1", "class 0"])
    assert reordered.labels.tolist() != champion.labels.tolist()
    assert decide_on(found, reordered) == decide_on(found, champion)
