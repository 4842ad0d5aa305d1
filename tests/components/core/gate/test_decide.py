import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.core.evaluation.intervals import paired_lower_bound, wilson_interval
from components.core.evaluation.predictions import Predictions
from components.core.gate.checks import CHECKS
from components.core.gate.decide import decide
from components.core.gate.evidence import Evidence
from components.core.gate.policy import GatePolicy
from components.core.gate.record import Outcome
from tests.components.core.gate.conftest import (
    SOUND,
    decide_on,
    evidence_of,
    failing,
    model_and_champion,
    policy,
    predictions,
    row,
)
from tests.factories import champion_evidence, predictions_of

LOW = wilson_interval(170, 200, 0.95).low  # of SOUND: 0.7939
NEXT = math.nextafter

# 3 newly right, 2 newly wrong of 200; the class recall of class 0 falls by 1 in 99.
MODEL, CHAMPION = model_and_champion(3, 2, 200, right=150)
DUEL_LOW = paired_lower_bound(3, 2, 200, 0.95)

# 20 of 100 images of class 1 got lost, and none of class 0.
FALLEN = predictions([0] * 100 + [1] * 100, [0] * 100 + [1] * 70 + [0] * 30)
BEFORE = predictions([0] * 100 + [1] * 100, [0] * 100 + [1] * 90 + [0] * 10)


@dataclass(frozen=True)
class Row:
    """One check of the truth table: a setting that fails it, and one at its very bound."""

    name: str
    status: str
    fails: dict[str, Any]
    equal: dict[str, Any]
    found: Predictions = predictions_of(SOUND)  # noqa: RUF009 - never changed
    champion: Predictions | None = None

    def decide(self, setting: dict[str, Any]) -> Outcome:
        demands = {k: v for k, v in setting.items() if k in GatePolicy.model_fields}
        facts = {k: v for k, v in setting.items() if k not in demands}
        return decide_on(self.found, self.champion, policy(**demands), **facts)


TABLE = [
    Row("data leakage", "error", {"leaked_test_images": 1}, {"leaked_test_images": 0}),
    Row("test images", "fail", {"min_test_images": 201}, {"min_test_images": 200}),
    Row(
        "test images per class",
        "fail",
        {"min_test_images_per_class": 101},
        {"min_test_images_per_class": 100},
    ),
    Row("accuracy", "fail", {"min_accuracy": NEXT(LOW, 1)}, {"min_accuracy": LOW}),
    Row("macro F1", "fail", {"min_macro_f1": 0.8497}, {"min_macro_f1": float(339 / 399)}),
    Row("class recall", "fail", {"min_class_recall": NEXT(0.8, 1)}, {"min_class_recall": 0.8}),
    Row("calibration", "fail", {"max_ece": 0.0499}, {"max_ece": 0.0500000001}),
    Row("model size", "fail", {"max_model_mb": NEXT(44.8, 0)}, {"max_model_mb": 44.8}),
    Row(
        "latency",
        "fail",
        {"max_latency_ms": NEXT(12.5, 0), "latency_p95_ms": 12.5},
        {"max_latency_ms": 12.5, "latency_p95_ms": 12.5},
    ),
    Row("implausible result", "fail", {"max_accuracy": NEXT(0.85, 0)}, {"max_accuracy": 0.85}),
    Row("revocation", "fail", {"revoked_reason": "was rolled back"}, {"revoked_reason": ""}),
    Row(
        "champion",
        "fail",
        {"non_inferiority_margin": NEXT(-DUEL_LOW, 0)},
        {"non_inferiority_margin": -DUEL_LOW},
        MODEL,
        CHAMPION,
    ),
    Row(
        "per-class regression",
        "fail",
        {"max_class_recall_drop": 0.19},
        {"max_class_recall_drop": 0.2},
        FALLEN,
        BEFORE,
    ),
    Row("test-set reuse", "warn", {"previous_test_uses": 10}, {"previous_test_uses": 9}),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_each_check_fails_beyond_its_bound_and_nothing_else_fails(case: Row) -> None:
    outcome = case.decide(case.fails)
    assert failing(outcome) == [case.name]
    assert outcome.checks[0].status == case.status
    verdicts = {"fail": "blocked", "warn": "passed", "error": "error"}
    assert outcome.verdict == verdicts[case.status]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_each_check_passes_exactly_at_its_bound(case: Row) -> None:
    outcome = case.decide(case.equal)
    assert failing(outcome) == []
    assert outcome.verdict == "passed"


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_each_check_passes_well_within_its_bound(case: Row) -> None:
    assert decide_on(case.found, case.champion).verdict == "passed"


OPTIONAL = {"max_ece", "max_accuracy", "max_model_mb", "max_latency_ms", "max_accuracy_gain"}

BROKEN: dict[str, Any] = {
    "missing": None,
    "not a number": math.nan,
    "of another type": "many",
    "of no type": [],
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("setting", list(GatePolicy.model_fields))
def test_a_requirement_that_is_missing_or_broken_is_an_error(setting: str, kind: str) -> None:
    demands = policy().model_copy(update={setting: BROKEN[kind]})
    outcome = decide_on(predictions_of(SOUND), required=demands)
    switched_off = kind == "missing" and setting in OPTIONAL
    assert outcome.verdict == ("passed" if switched_off else "error")


@pytest.mark.row("C03")
@pytest.mark.parametrize("setting", list(GatePolicy.model_fields))
def test_a_policy_without_one_of_its_fields_is_an_error(setting: str) -> None:
    without = policy().model_dump(exclude={setting})
    hollow = GatePolicy.model_construct(None, **without)
    outcome = decide_on(predictions_of(SOUND), required=hollow)
    assert outcome.verdict == "error"
    assert setting in outcome.checks[0].message


@pytest.mark.row("P07")
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("field", list(Evidence.model_fields))
def test_evidence_that_is_missing_or_broken_is_an_error(field: str, kind: str) -> None:
    changes = {field: BROKEN[kind]}
    outcome = decide_on(predictions_of(SOUND), **changes)
    unbounded = field == "latency_p95_ms" and kind == "missing"
    free_text = field == "revoked_reason" and kind == "of another type"
    assert outcome.verdict == ("passed" if unbounded else "blocked" if free_text else "error")


@pytest.mark.row("C03")
@pytest.mark.parametrize(
    "changes",
    [{"min_accuracy": 95}, {"min_accuracy": -0.1}, {"min_accuracy": "0.9"}, {"min_accuracy": True},
     {"min_test_images": 0}, {"min_test_images": 1.5}, {"min_recall": 0.1},
     {"confidence_level": 95}, {"confidence_level": 1.0}, {"confidence_level": 0.05},
     {"champion_test": "better"},
     {"max_test_set_uses": 0}, {"max_model_mb": 0.0},
     {"max_latency_ms": -1.0}, {"max_model_mb": math.inf}],
)  # fmt: skip
def test_a_policy_out_of_range_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        policy(**changes)


@pytest.mark.row("P07")
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(
    "garbage", [None, 7, "text", [], object(), math.nan], ids=lambda value: type(value).__name__
)
def test_garbage_in_any_place_is_an_error_and_never_an_exception(
    place: int, garbage: object
) -> None:
    found, champion = model_and_champion(3, 2, 200)
    evidence = evidence_of(found, champion=champion_evidence("compared"))
    inputs: list[Any] = [policy(), evidence, found, champion]
    inputs[place] = garbage
    outcome = decide(*inputs)
    assert outcome.verdict == "error"
    assert outcome.checks[0].name == "evidence"
    assert outcome.checks[0].message
    assert not outcome.first_model


def test_what_blows_up_inside_is_an_error_with_its_name() -> None:
    class Bomb:
        def __len__(self) -> int:
            raise ZeroDivisionError("boom")

    found = replace(predictions_of(SOUND), paths=Bomb())  # type: ignore[arg-type]
    outcome = decide(policy(), evidence_of(predictions_of(SOUND)), found, None)
    assert outcome.verdict == "error"
    sound = predictions_of(SOUND)
    outcome = decide(policy(), evidence_of(sound), found, None)
    assert outcome.checks[0].message == "cannot be evaluated: ZeroDivisionError: boom"


ORDERED = ["test images", "test images per class", "accuracy", "macro F1", "class recall"]


@pytest.mark.parametrize("fails", list(itertools.product([False, True], repeat=5)))
def test_every_combination_of_checks_blocks_exactly_when_one_fails(fails: tuple[bool, ...]) -> None:
    table = {case.name: case for case in TABLE}
    required: dict[str, Any] = {}
    for name, fail in zip(ORDERED, fails, strict=True):
        required |= table[name].fails if fail else table[name].equal
    outcome = decide_on(predictions_of(SOUND), required=policy(**required))
    expected = [name for name, fail in zip(ORDERED, fails, strict=True) if fail]
    assert failing(outcome) == expected
    assert outcome.verdict == ("blocked" if expected else "passed")
    assert len(outcome.checks) == len(CHECKS) + 1


def test_errors_come_before_failures_before_warnings_before_passes() -> None:
    required = policy(min_accuracy=0.99, max_test_set_uses=1)
    outcome = decide_on(
        predictions_of(SOUND), required=required, leaked_test_images=3, revoked_reason="no"
    )
    verdicts = [check.status for check in outcome.checks]
    assert verdicts[:5] == ["error", "fail", "fail", "warn", "pass"]
    assert failing(outcome) == ["data leakage", "accuracy", "revocation", "test-set reuse"]
    assert outcome.verdict == "error"


def test_a_warning_alone_does_not_block_a_model() -> None:
    outcome = decide_on(predictions_of(SOUND), previous_test_uses=15)
    assert outcome.checks[0].status == "warn"
    assert outcome.verdict == "passed"


def test_names_of_checks_are_distinct_and_every_message_is_one_line() -> None:
    outcome = decide_on(MODEL, CHAMPION)
    names = [check.name for check in outcome.checks]
    assert len(set(names)) == len(names) == 16
    assert all(check.message and "\n" not in check.message for check in outcome.checks)


@pytest.mark.row("P08")
def test_the_first_model_is_said_to_be_the_first_and_still_has_to_meet_the_bounds() -> None:
    outcome = decide_on(predictions_of(SOUND), required=policy(min_accuracy=0.9))
    assert outcome.first_model
    assert outcome.verdict == "blocked"
    assert decide_on(predictions_of(SOUND)).first_model
    assert not decide_on(MODEL, CHAMPION).first_model


def test_the_accuracy_of_the_outcome_is_computed_from_the_predictions() -> None:
    accuracy = decide_on(predictions_of(SOUND), previous_test_uses=500).accuracy
    assert accuracy is not None
    low, high = wilson_interval(170, 200, 0.95)
    expected = {"value": 0.85, "low": low, "high": high, "num_images": 200}
    assert accuracy.model_dump() == expected
    assert decide_on(predictions_of(SOUND), model_digest="").accuracy is None


def test_what_has_no_bound_or_nothing_to_compare_with_is_skipped_and_never_passed() -> None:
    outcome = decide_on(predictions_of(SOUND))
    assert [check.name for check in outcome.checks if check.status == "skipped"] == [
        "calibration",
        "champion",
        "per-class regression",
        "implausible result",
        "model size",
        "latency",
    ]


@pytest.mark.parametrize(
    ("state", "status", "says"),
    [
        ("none", "skipped", "there is no champion yet"),
        ("same", "skipped", "this model is the champion"),
        ("other_classes", "fail", "the champion knows other classes: it also knows cat; have"),
        ("unusable", "error", "the champion cannot be used: no weights"),
    ],
)
def test_a_champion_that_is_not_compared_decides_by_its_state(
    state: str, status: str, says: str
) -> None:
    outcome = decide_on(predictions_of(SOUND), champion=champion_evidence(state))
    assert row(outcome, "champion").status == status
    assert row(outcome, "champion").message.startswith(says)
    assert outcome.verdict == {"fail": "blocked", "error": "error"}.get(status, "passed")


@settings(deadline=None)
@given(
    st.integers(2, 4).flatmap(
        lambda k: st.lists(
            st.lists(st.integers(0, 30), min_size=k, max_size=k), min_size=k, max_size=k
        )
    ),
    st.floats(0, 1),
)
def test_passed_means_that_every_bound_is_met(matrix: list[list[int]], limit: float) -> None:
    if not sum(map(sum, matrix)):
        return
    required = policy(min_accuracy=limit, min_macro_f1=limit, min_class_recall=limit)
    outcome = decide_on(predictions_of(matrix), required=required)
    assert outcome.verdict in {"passed", "blocked"}
    if outcome.verdict == "passed":
        assert all(line[k] >= limit * sum(line) - 1e-9 for k, line in enumerate(matrix))
        assert all(sum(line) for line in matrix)


@settings(deadline=None, max_examples=40)
@given(st.randoms(use_true_random=False))
def test_equal_inputs_give_equal_bytes(random: Any) -> None:
    seed = random.randrange(2**32)
    draw = np.random.default_rng(seed)
    groups = [str(g) for g in draw.integers(0, 40, 60)]
    labels, first, second = draw.integers(0, 3, (3, 60)).tolist()
    found = predictions(labels, first, classes=3, groups=groups)
    champion = predictions(labels, second, classes=3, groups=groups)
    once, again = (decide_on(found, champion).model_dump_json() for _ in range(2))
    assert once == again
    assert Outcome.model_validate_json(once).model_dump_json() == once


def test_100_000_images_are_decided_about() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 50, 100_000)
    predicted = [np.where(draw.random(100_000) < 0.9, labels, 0) for _ in range(2)]
    groups = [f"{g:064x}" for g in draw.integers(0, 40_000, 100_000).tolist()]
    found, champion = (
        predictions(labels.tolist(), p.tolist(), classes=50, groups=groups) for p in predicted
    )
    evidence = evidence_of(found, champion=champion_evidence("compared"))
    outcome = decide(policy(), evidence, found, champion)
    assert outcome.verdict == "passed"
