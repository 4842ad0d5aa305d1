"""What no model can pass is said before there is one, and never of what one could pass."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.core.gate.foresight import (
    HeldOut,
    best_accuracy,
    expected_test_images,
    foresee,
    images_needed,
    least_margin,
)
from tests.components.core.gate.conftest import decide_on
from tests.factories import champion_evidence, gate_policy, predictions

SHARE = 0.15


def held_out(*counts: int, **changes: Any) -> HeldOut:
    values: dict[str, Any] = {"group_sizes": None, "share": SHARE} | changes
    return HeldOut({f"class {k}": number for k, number in enumerate(counts)}, **values)


def said(test: HeldOut, model_mb: float | None = None, **bounds: Any) -> list[str]:
    return foresee(gate_policy(non_inferiority_margin=1.0, **bounds), test, model_mb)


def test_fifty_test_images_of_a_class_take_334_of_every_class() -> None:
    assert images_needed(50, SHARE) == 334
    assert said(held_out(60, 12, 30), min_test_images_per_class=50) == [
        (
            "too few test images of class 1 (12), class 2 (30); min_test_images_per_class 50 takes "
            "334 images of every class"
        )
    ]
    assert said(held_out(50, 60), min_test_images_per_class=50) == []


@pytest.mark.parametrize(
    ("images", "expected"),
    [(334, 50), (333, 49), (340, 51), (20, 3), (6, 1), (3, 1), (2, 0), (0, 0)],
)
def test_a_class_gets_its_share_for_test_and_one_image_if_it_has_three(
    images: int, expected: int
) -> None:
    assert expected_test_images(images, SHARE) == expected


@given(st.integers(1, 5_000), st.sampled_from([0.1, 0.15, 0.2, 0.3, 1 / 3, 0.07]))
def test_the_images_needed_are_the_least_that_are_enough(number: int, share: float) -> None:
    needed = images_needed(number, share)
    assert expected_test_images(needed, share) >= number
    assert needed == 1 or number == 1 or expected_test_images(needed - 1, share) < number


def test_too_few_test_images_in_all_say_how_many_it_takes() -> None:
    assert said(held_out(7, 7), min_test_images=200) == [
        "14 test images; min_test_images 200 takes 1,334 images"
    ]
    assert said(held_out(7, 7, share=None), min_test_images=200) == [
        "14 test images; min_test_images 200 takes 200 test images"
    ]
    assert said(held_out(100, 100), min_test_images=200) == []
    assert said(held_out(0, 0), min_test_images=1)[0].startswith("no test image; ")


def test_an_accuracy_that_few_images_cannot_show_is_foreseen() -> None:
    # all of 20 correct: 20 / (20 + 1.96^2) = 0.839; 0.9 takes 35, as 34.6 / (34.6 + 3.84) = 0.9
    assert best_accuracy(gate_policy(), 20) == pytest.approx(0.8389, abs=1e-4)
    assert said(held_out(10, 10), min_accuracy=0.9) == [
        (
            "20 test images can show an accuracy of 0.839 at most (95 % lower bound); min_accuracy "
            "0.9 takes 234 images"
        )
    ]
    assert said(held_out(10, 10), min_accuracy=0.83) == []


def test_a_bound_on_the_accuracy_from_above_counts() -> None:
    # 0.999 leaves 19 of 20: the Wilson interval of 19 / 20 begins at 0.764
    assert best_accuracy(gate_policy(max_accuracy=0.999), 20) == pytest.approx(0.7639, abs=1e-4)
    assert best_accuracy(gate_policy(max_accuracy=0.95), 20) == pytest.approx(0.7639, abs=1e-4)
    found = said(held_out(10, 10), min_accuracy=0.9, max_accuracy=0.9)
    assert found[0].endswith("min_accuracy 0.9 is more than any number can show")


def test_images_that_belong_together_show_less() -> None:
    grouped = held_out(50, 50, group_sizes=[10] * 10)
    (found,) = said(grouped, min_accuracy=0.9)
    assert found.startswith("100 test images in 10 groups can show an accuracy of ")
    assert found.endswith("min_accuracy 0.9 takes images of more groups")
    assert said(held_out(50, 50, group_sizes=[1] * 100), min_accuracy=0.9) == []


def test_a_forced_error_contradicts_bounds_that_allow_none() -> None:
    bounds = {"max_accuracy": 0.999, "min_class_recall": 0.99, "min_macro_f1": 1.0}
    # one of 50: recall 0.98; F1 of 98 / 99 and 60 / 61
    assert said(held_out(50, 30), **bounds) == [
        (
            "max_accuracy 0.999 asks for at least one error, which leaves 0.9800 at most for "
            "min_class_recall 0.99; lower it"
        ),
        (
            "max_accuracy 0.999 asks for at least one error, which leaves 0.9868 at most for "
            "min_macro_f1 1; lower it"
        ),
    ]
    assert said(held_out(50, 30), **bounds | {"max_accuracy": None}) == []
    assert said(held_out(50, 30), **bounds | {"min_class_recall": 0.98, "min_macro_f1": 0.98}) == []


def test_a_model_that_will_be_too_large_is_foreseen() -> None:
    assert said(held_out(50, 50), 178.4, max_model_mb=100.0) == [
        (
            "the model will have 178 MB, max_model_mb is 100; raise it, or choose a smaller "
            "model.architecture"
        )
    ]
    assert said(held_out(50, 50), 178.4) == []
    assert said(held_out(50, 50), max_model_mb=100.0) == []


def test_a_margin_that_an_equal_model_cannot_show_is_foreseen() -> None:
    # 1.96^2 / (n + 1.96^2) <= 0.05 from n = 73 on
    assert least_margin(0.95, 73) <= 0.05 < least_margin(0.95, 72)
    assert foresee(gate_policy(), held_out(36, 37)) == []
    assert foresee(gate_policy(), held_out(36, 36)) == [
        (
            "72 test images cannot show that a model equal to a champion is not worse: at least "
            "0.051 is left open; non_inferiority_margin 0.05 takes 487 images"
        )
    ]
    (grouped,) = foresee(gate_policy(), held_out(36, 37, group_sizes=[10] * 7 + [3]))
    assert grouped.endswith("non_inferiority_margin 0.05 takes images of more groups")
    (none,) = foresee(gate_policy(non_inferiority_margin=0.0), held_out(36, 37))
    assert none.endswith("non_inferiority_margin 0 can be shown by no number of them")


def test_a_gain_that_few_images_cannot_show_is_foreseen() -> None:
    # six gained of 24 have p = 2 / 2^6 = 0.031, five of 23 have 0.0625
    policy = gate_policy(champion_test="superior", max_accuracy_gain=0.25)
    assert foresee(policy, held_out(12, 12)) == []
    (found,) = foresee(policy, held_out(12, 11))
    assert found.startswith("23 test images cannot show that a model is better than a champion")
    assert foresee(gate_policy(champion_test="superior"), held_out(3, 3)) == []


@example(
    counts=[1, 1],
    bounds={
        "min_accuracy": 0.0,
        "min_macro_f1": 0.0,
        "min_class_recall": 0.0,
        "min_test_images": 1,
        "min_test_images_per_class": 1,
        "max_accuracy": 0.999,
    },
)
@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    bounds=st.fixed_dictionaries(
        {
            "min_accuracy": st.sampled_from([0.0, 0.5, 0.8, 0.9, 0.95]),
            "min_macro_f1": st.sampled_from([0.0, 0.9, 0.98, 1.0]),
            "min_class_recall": st.sampled_from([0.0, 0.9, 0.97, 1.0]),
            "min_test_images": st.sampled_from([1, 20, 60]),
            "min_test_images_per_class": st.sampled_from([1, 5, 20]),
            "max_accuracy": st.sampled_from([None, 0.999]),
        }
    ),
)
def test_the_gate_blocks_the_best_model_exactly_where_it_was_foreseen(
    counts: list[int], bounds: dict[str, Any]
) -> None:
    test = held_out(*counts)
    labels = [k for k, number in enumerate(counts) for _ in range(number)]
    predicted = [*labels]
    if bounds["max_accuracy"]:  # of fewer than 1,000 images one error satisfies it
        largest, second = sorted(range(len(counts)), key=lambda k: (-counts[k], k))[:2]
        predicted[labels.index(largest)] = second
        if len(labels) == 2:  # with one error all would be predicted as one class
            predicted = labels[::-1]
    names = list(test.counts)
    best = predictions(labels, predicted, class_names=names, confidence=1.0)
    blocked = decide_on(best, required=gate_policy(**bounds)).verdict == "blocked"
    assert blocked is bool(said(test, **bounds))


def test_the_gate_agrees_about_an_equal_model() -> None:
    for number in (36, 37):
        model = predictions([0] * number + [1] * 36, [0] * number + [1] * 36)
        outcome = decide_on(
            model, model, required=gate_policy(), champion=champion_evidence("compared")
        )
        assert (outcome.verdict == "blocked") is bool(foresee(gate_policy(), held_out(number, 36)))
