import itertools
import math
import time
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
from components.core.gate.record import Decision
from tests.components.core.gate.conftest import (
    SOUND,
    answers,
    duel,
    evaluation_of,
    evidence_of,
    failing,
    from_matrix,
    incumbent,
    judge,
    policy,
    row,
)

LOW = wilson_interval(170, 200, 0.95).low  # of SOUND: 0.7939
NEXT = math.nextafter

# 3 newly right, 2 newly wrong of 200; the class recall of class 0 falls by 1 in 99.
MODEL, CHAMPION = duel(3, 2, 200, right=150)
DUEL_LOW = paired_lower_bound(3, 2, 200, 0.95)

# 20 of 100 images of class 1 got lost, and none of class 0.
FALLEN = answers([0] * 100 + [1] * 100, [0] * 100 + [1] * 70 + [0] * 30)
BEFORE = answers([0] * 100 + [1] * 100, [0] * 100 + [1] * 90 + [0] * 10)


@dataclass(frozen=True)
class Row:
    """One check of the truth table: a setting that fails it, and one at its very bound."""

    name: str
    verdict: str
    fails: dict[str, Any]
    equal: dict[str, Any]
    found: Predictions = from_matrix(SOUND)  # noqa: RUF009 - never changed
    rival: Predictions | None = None

    def decide(self, setting: dict[str, Any]) -> Decision:
        demands = {k: v for k, v in setting.items() if k in GatePolicy.model_fields}
        facts = {k: v for k, v in setting.items() if k not in demands}
        return judge(self.found, self.rival, policy(**demands), **facts)


HIGH = {"champion_test": "superior"}
TABLE = [
    Row("leak", "error", {"leaked_test_images": 1}, {"leaked_test_images": 0}),
    Row("test images", "hold", {"min_test_images": 201}, {"min_test_images": 200}),
    Row(
        "test images per class",
        "hold",
        {"min_test_images_per_class": 101},
        {"min_test_images_per_class": 100},
    ),
    Row("accuracy", "hold", {"min_accuracy": NEXT(LOW, 1)}, {"min_accuracy": LOW}),
    Row("macro F1", "hold", {"min_macro_f1": 0.8497}, {"min_macro_f1": float(339 / 399)}),
    Row("class recall", "hold", {"min_class_recall": NEXT(0.8, 1)}, {"min_class_recall": 0.8}),
    Row("calibration", "hold", {"max_ece": 0.0499}, {"max_ece": 0.0500000001}),
    Row("model size", "hold", {"max_model_mb": NEXT(44.8, 0)}, {"max_model_mb": 44.8}),
    Row(
        "latency",
        "hold",
        {"max_latency_ms": NEXT(12.5, 0), "latency_p95_ms": 12.5},
        {"max_latency_ms": 12.5, "latency_p95_ms": 12.5},
    ),
    Row("too good", "hold", {"max_accuracy": NEXT(0.85, 0)}, {"max_accuracy": 0.85}),
    Row("history", "hold", {"revoked_reason": "was rolled back"}, {"revoked_reason": ""}),
    Row("champion", "hold", {"margin": NEXT(-DUEL_LOW, 0)}, {"margin": -DUEL_LOW}, MODEL, CHAMPION),
    Row(
        "class losses",
        "hold",
        {"max_class_recall_drop": 0.19},
        {"max_class_recall_drop": 0.2},
        FALLEN,
        BEFORE,
    ),
    Row("test-set reuse", "warn", {"previous_test_uses": 10}, {"previous_test_uses": 9}),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_each_check_fails_beyond_its_bound_and_nothing_else_fails(case: Row) -> None:
    decision = case.decide(case.fails)
    assert failing(decision) == [case.name]
    assert decision.checks[0].verdict == case.verdict
    assert decision.verdict == ("promote" if case.verdict == "warn" else case.verdict)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_each_check_passes_exactly_at_its_bound(case: Row) -> None:
    decision = case.decide(case.equal)
    assert failing(decision) == []
    assert decision.verdict == "promote"


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_each_check_passes_well_within_its_bound(case: Row) -> None:
    assert judge(case.found, case.rival).verdict == "promote"


BROKEN: dict[str, Any] = {
    "missing": None,
    "not a number": math.nan,
    "of another type": "many",
    "of no type": [],
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("setting", list(GatePolicy.model_fields))
def test_a_demand_that_is_missing_or_broken_is_an_error(setting: str, kind: str) -> None:
    demands = policy().model_copy(update={setting: BROKEN[kind]})
    decision = judge(from_matrix(SOUND), wanted=demands)
    switched_off = (
        kind == "missing" and setting.startswith("max") and setting != "max_class_recall_drop"
    )
    assert decision.verdict == ("promote" if switched_off else "error")


@pytest.mark.parametrize("setting", list(GatePolicy.model_fields))
def test_a_policy_without_one_of_its_fields_is_an_error(setting: str) -> None:
    without = policy().model_dump(exclude={setting})
    hollow = GatePolicy.model_construct(None, **without)
    decision = judge(from_matrix(SOUND), wanted=hollow)
    assert decision.verdict == "error"
    assert setting in decision.checks[0].reason


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("field", list(Evidence.model_fields))
def test_evidence_that_is_missing_or_broken_is_an_error(field: str, kind: str) -> None:
    changes = {field: BROKEN[kind]}
    decision = judge(from_matrix(SOUND), **changes)
    unbounded = field == "latency_p95_ms" and kind == "missing"
    free_text = field == "revoked_reason" and kind == "of another type"
    assert decision.verdict == ("promote" if unbounded else "hold" if free_text else "error")


@pytest.mark.parametrize(
    "changes",
    [{"min_accuracy": 95}, {"min_accuracy": -0.1}, {"min_accuracy": "0.9"}, {"min_accuracy": True},
     {"min_test_images": 0}, {"min_test_images": 1.5}, {"min_recall": 0.1}, {"confidence": 95},
     {"confidence": 1.0}, {"confidence": 0.05}, {"champion_test": "better"},
     {"max_test_set_uses": 0}, {"max_model_mb": 0.0},
     {"max_latency_ms": -1.0}, {"max_model_mb": math.inf}],
)  # fmt: skip
def test_a_policy_out_of_range_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        policy(**changes)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("garbage", [None, 7, "text", [], object(), math.nan], ids=repr)
def test_garbage_in_any_place_is_an_error_and_never_an_exception(
    place: int, garbage: object
) -> None:
    found, rival = duel(3, 2, 200)
    evidence = evidence_of(found, champion=incumbent("compared"))
    inputs: list[Any] = [policy(), evidence, evaluation_of(found), found, rival]
    inputs[place] = garbage
    decision = decide(*inputs)
    assert decision.verdict == "error"
    assert decision.checks[0].name == "evidence"
    assert decision.checks[0].reason
    assert not decision.first_model


def test_what_blows_up_inside_is_an_error_with_its_name() -> None:
    class Bomb:
        def __len__(self) -> int:
            raise ZeroDivisionError("boom")

    found = replace(from_matrix(SOUND), paths=Bomb())  # type: ignore[arg-type]
    decision = decide(policy(), evidence_of(from_matrix(SOUND)), evaluation_of(MODEL), found, None)
    assert decision.verdict == "error"
    sound = from_matrix(SOUND)
    decision = decide(policy(), evidence_of(sound), evaluation_of(sound), found, None)
    assert decision.checks[0].reason == "cannot be judged: ZeroDivisionError: boom"


ORDERED = ["test images", "test images per class", "accuracy", "macro F1", "class recall"]


@pytest.mark.parametrize("fails", list(itertools.product([False, True], repeat=5)))
def test_every_combination_of_checks_holds_exactly_when_one_fails(fails: tuple[bool, ...]) -> None:
    table = {case.name: case for case in TABLE}
    wanted: dict[str, Any] = {}
    for name, fail in zip(ORDERED, fails, strict=True):
        wanted |= table[name].fails if fail else table[name].equal
    decision = judge(from_matrix(SOUND), wanted=policy(**wanted))
    expected = [name for name, fail in zip(ORDERED, fails, strict=True) if fail]
    assert failing(decision) == expected
    assert decision.verdict == ("hold" if expected else "promote")
    assert len(decision.checks) == len(CHECKS) + 1


def test_errors_come_before_holds_before_warnings_before_passes() -> None:
    wanted = policy(min_accuracy=0.99, max_test_set_uses=1)
    decision = judge(from_matrix(SOUND), wanted=wanted, leaked_test_images=3, revoked_reason="no")
    verdicts = [check.verdict for check in decision.checks]
    assert verdicts[:5] == ["error", "hold", "hold", "warn", "promote"]
    assert failing(decision) == ["leak", "accuracy", "history", "test-set reuse"]
    assert decision.verdict == "error"


def test_a_warning_alone_does_not_hold_a_model_back() -> None:
    decision = judge(from_matrix(SOUND), previous_test_uses=15)
    assert decision.checks[0].verdict == "warn"
    assert decision.verdict == "promote"


def test_names_of_checks_are_distinct_and_every_reason_is_one_line() -> None:
    decision = judge(MODEL, CHAMPION)
    names = [check.name for check in decision.checks]
    assert len(set(names)) == len(names) == 16
    assert all(check.reason and "\n" not in check.reason for check in decision.checks)


def test_the_first_model_is_said_to_be_the_first_and_still_has_to_meet_the_bounds() -> None:
    decision = judge(from_matrix(SOUND), wanted=policy(min_accuracy=0.9))
    assert decision.first_model
    assert decision.verdict == "hold"
    assert judge(from_matrix(SOUND)).first_model
    assert not judge(MODEL, CHAMPION).first_model


@pytest.mark.parametrize(
    ("state", "verdict", "says"),
    [
        ("none", "promote", "no champion yet: nothing to compare with"),
        ("same", "promote", "this model is the champion already"),
        ("other_classes", "hold", "no comparison is possible: also cat; have a person look"),
        ("unusable", "error", "the champion cannot be trusted: no weights"),
    ],
)
def test_a_champion_that_is_not_compared_decides_by_its_state(
    state: str, verdict: str, says: str
) -> None:
    decision = judge(from_matrix(SOUND), champion=incumbent(state))
    assert decision.verdict == verdict
    assert row(decision, "champion").reason.startswith(says)


@settings(deadline=None)
@given(
    st.integers(2, 4).flatmap(
        lambda k: st.lists(
            st.lists(st.integers(0, 30), min_size=k, max_size=k), min_size=k, max_size=k
        )
    ),
    st.floats(0, 1),
)
def test_promote_means_that_every_bound_is_met(matrix: list[list[int]], limit: float) -> None:
    if not sum(map(sum, matrix)):
        return
    wanted = policy(min_accuracy=limit, min_macro_f1=limit, min_class_recall=limit)
    decision = judge(from_matrix(matrix), wanted=wanted)
    assert decision.verdict in {"promote", "hold"}
    if decision.verdict == "promote":
        assert all(line[k] >= limit * sum(line) - 1e-9 for k, line in enumerate(matrix))
        assert all(sum(line) for line in matrix)


@settings(deadline=None, max_examples=40)
@given(st.randoms(use_true_random=False))
def test_equal_inputs_give_equal_bytes(random: Any) -> None:
    seed = random.randrange(2**32)
    draw = np.random.default_rng(seed)
    groups = [str(g) for g in draw.integers(0, 40, 60)]
    labels, first, second = draw.integers(0, 3, (3, 60)).tolist()
    found = answers(labels, first, classes=3, groups=groups)
    rival = answers(labels, second, classes=3, groups=groups)
    once, again = (judge(found, rival).model_dump_json() for _ in range(2))
    assert once == again
    assert Decision.model_validate_json(once).model_dump_json() == once


def test_a_decision_about_100_000_images_takes_seconds() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 50, 100_000)
    predicted = [np.where(draw.random(100_000) < 0.9, labels, 0) for _ in range(2)]
    groups = [f"{g:064x}" for g in draw.integers(0, 40_000, 100_000).tolist()]
    found, rival = (
        answers(labels.tolist(), p.tolist(), classes=50, groups=groups) for p in predicted
    )
    evidence, stated = evidence_of(found, champion=incumbent("compared")), evaluation_of(found)
    started = time.perf_counter()
    decision = decide(policy(), evidence, stated, found, rival)
    assert decision.verdict == "promote"
    assert time.perf_counter() - started < 10
