import math

import pytest

from components.core.gate.gate_input import Case, at_least, at_most, percent
from tests.components.core.gate.conftest import answers, evidence_of, from_matrix, policy


def case(uses: int, free: int, confidence: float = 0.95) -> Case:
    found = from_matrix([[2, 1], [0, 3]])
    demands = policy(confidence=confidence, max_test_set_uses=free)
    return Case(demands, evidence_of(found, previous_test_uses=uses - 1), found, None)


@pytest.mark.parametrize("uses", [1, 19, 20])
def test_confidence_is_the_stated_one_while_uses_are_free(uses: int) -> None:
    assert case(uses, free=20).confidence == 0.95


def test_confidence_rises_with_every_use_beyond_the_free_ones() -> None:
    assert case(40, free=20).confidence == pytest.approx(0.975)
    assert case(21, free=20).confidence == pytest.approx(1 - 0.05 * 20 / 21)
    assert case(2, free=1, confidence=0.5).confidence == 0.75


def test_what_is_counted_from_the_answers() -> None:
    one = case(1, free=1)
    assert one.total == 6
    assert one.correct.tolist() == [1, 1, 0, 1, 1, 1]
    assert one.matrix.tolist() == [[2, 1], [0, 3]]
    assert one.paired_differences.tolist() == [0] * 6
    assert not one.grouped


def test_gains_are_signed_by_who_is_right() -> None:
    found, rival = answers([0, 0, 0, 1], [0, 0, 1, 0]), answers([0, 0, 0, 1], [0, 1, 0, 0])
    assert Case(policy(), evidence_of(found), found, rival).paired_differences.tolist() == [
        0,
        1,
        -1,
        0,
    ]


def test_two_images_of_one_group_make_answers_grouped() -> None:
    found = answers([0, 1, 0], [0, 1, 0], groups=["a", "b", "a"])
    assert Case(policy(), evidence_of(found), found, None).grouped


def test_a_near_miss_is_shown_with_enough_digits() -> None:
    below = at_least("recall", 0.6999, 0.7, "it is", "(so many)")
    assert below.reason == "it is 0.6999 (so many); 0.7000 is wanted"
    assert below.wanted == ">= 0.7000"
    assert below.verdict == "hold"
    closest = at_least("recall", math.nextafter(0.7, 0), 0.7, "it is")
    assert closest.reason == "it is 0.700000000; 0.700000000 is wanted"
    assert at_least("recall", 0.7, 0.7, "it is").reason == "it is 0.700; 0.700 is wanted"


def test_a_bound_from_above_has_its_unit_and_may_be_missing() -> None:
    assert at_most("size", 44.8, 40, "it has", "MB").reason == (
        "it has 44.800 MB; 40.000 is allowed"
    )
    free = at_most("size", 44.8, None, "it has", "MB")
    assert (free.verdict, free.wanted) == ("promote", "no bound")
    assert free.reason == "it has 44.800 MB; no bound is set"
    assert at_most("size", 0.0, 0.0, "it has").verdict == "promote"


def test_a_share_is_shown_as_percent() -> None:
    assert [percent(s) for s in (0.95, 0.975, 0.9999)] == ["95 %", "97.5 %", "99.99 %"]
