import pytest

from components.core.gate.gate_input import GateInput
from tests.components.core.gate.conftest import evidence_of, policy, predictions
from tests.factories import predictions_of


def case(uses: int, free: int, confidence: float = 0.95) -> GateInput:
    found = predictions_of([[2, 1], [0, 3]])
    demands = policy(confidence_level=confidence, max_test_set_uses=free)
    return GateInput(demands, evidence_of(found, previous_test_uses=uses - 1), found, None)


@pytest.mark.parametrize("uses", [1, 19, 20])
def test_confidence_is_the_stated_one_while_uses_are_allowed(uses: int) -> None:
    assert case(uses, free=20).confidence_level == 0.95


def test_confidence_rises_with_every_use_beyond_the_allowed_ones() -> None:
    assert case(40, free=20).confidence_level == pytest.approx(0.975)
    assert case(21, free=20).confidence_level == pytest.approx(1 - 0.05 * 20 / 21)
    assert case(2, free=1, confidence=0.5).confidence_level == 0.75


def test_what_is_counted_from_the_predictions() -> None:
    one = case(1, free=1)
    assert one.total == 6
    assert one.correct.tolist() == [1, 1, 0, 1, 1, 1]
    assert one.matrix.tolist() == [[2, 1], [0, 3]]
    assert one.paired_differences.tolist() == [0] * 6
    assert not one.has_groups


def test_gains_are_signed_by_who_is_right() -> None:
    found, champion = (
        predictions([0, 0, 0, 1], [0, 0, 1, 0]),
        predictions([0, 0, 0, 1], [0, 1, 0, 0]),
    )
    assert GateInput(policy(), evidence_of(found), found, champion).paired_differences.tolist() == [
        0,
        1,
        -1,
        0,
    ]


def test_two_images_of_one_group_make_predictions_grouped() -> None:
    found = predictions([0, 1, 0], [0, 1, 0], groups=["a", "b", "a"])
    assert GateInput(policy(), evidence_of(found), found, None).has_groups
