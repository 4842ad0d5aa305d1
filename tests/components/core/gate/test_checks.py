import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from components.core.evaluation.intervals import cluster_bootstrap_lower_bound, wilson_interval
from components.core.gate.checks import CHECKS
from components.core.gate.gate_input import Case
from components.core.gate.record import Check
from tests.components.core.gate.conftest import (
    SOUND,
    answers,
    duel,
    evidence_of,
    failing,
    from_matrix,
    judge,
    policy,
    row,
)

UNCOVERED = [[90, 10, 0], [20, 80, 0], [0, 0, 0]]


def of_matrix(name: str, matrix: list[list[int]], **demands: object) -> Check:
    return row(judge(from_matrix(matrix), wanted=policy(**demands)), name)


def of_facts(name: str, facts: dict[str, Any], **demands: object) -> Check:
    return row(judge(from_matrix(SOUND), wanted=policy(**demands), **facts), name)


def test_checks_stand_in_this_order() -> None:
    case = Case(policy(), evidence_of(from_matrix(SOUND)), from_matrix(SOUND), None)
    assert [check(case).name for check in CHECKS] == [
        "leak",
        "test images",
        "test images per class",
        "answers",
        "accuracy",
        "macro F1",
        "class recall",
        "calibration",
        "champion",
        "class losses",
        "too good",
        "history",
        "test-set reuse",
        "model size",
        "latency",
    ]


def test_five_leaked_images_are_an_error_that_says_how_many() -> None:
    check = of_facts("leak", {"leaked_test_images": 5})
    assert check.verdict == "error"
    assert check.value == 5
    assert check.reason == (
        "5 test images, or others of their groups, are also in train or val, so the answers prove "
        "nothing; run `dvc repro`"
    )
    assert of_facts("leak", {}).reason == "no test image is also in train or val"


def test_gate_holds_when_the_test_split_is_too_small() -> None:
    check = of_matrix("test images", SOUND, min_test_images=201)
    assert check.verdict == "hold"
    assert check.reason == "too small to tell: only 200 test images; 201 are wanted"
    assert check.wanted == ">= 201"
    enough = of_matrix("test images", SOUND, min_test_images=200)
    assert enough.reason == "200 test images; 200 are wanted"


def test_gate_names_the_classes_with_too_few_test_images() -> None:
    matrix = [[1, 0, 0, 0, 0]] + [[0] * 5 for _ in range(4)]
    check = of_matrix("test images per class", matrix)
    assert check.verdict == "hold"
    assert check.value == 0
    assert check.reason == (
        "too small to tell: too few test images of class 1 (0), class 2 (0), class 3 (0) and 1 "
        "more; 1 are wanted"
    )
    two = of_matrix("test images per class", UNCOVERED)
    assert two.reason == "too small to tell: too few test images of class 2 (0); 1 are wanted"
    three = of_matrix("test images per class", SOUND, min_test_images_per_class=101)
    assert "class 0 (100), class 1 (100); 101 are wanted" in three.reason
    fine = of_matrix("test images per class", SOUND, min_test_images_per_class=7)
    assert fine.reason == "each of the 2 classes has at least 100 test images; 7 are wanted"


def test_three_small_classes_are_all_named() -> None:
    check = of_matrix("test images per class", [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
                      min_test_images_per_class=2)  # fmt: skip
    assert check.reason.endswith("class 0 (1), class 1 (1), class 2 (1); 2 are wanted")


def test_a_model_that_gives_only_one_answer_holds_whatever_share_is_right() -> None:
    decision = judge(from_matrix([[990, 0], [10, 0]]))
    assert failing(decision) == ["answers"]
    assert decision.checks[0].value == 1
    assert decision.checks[0].reason == (
        "every test image gets the same answer, class 0, whatever it shows"
    )
    two = of_matrix("answers", [[990, 0, 0], [9, 1, 0], [1, 0, 0]])
    assert (two.verdict, two.value) == ("promote", 2)
    assert two.reason == "2 of the 3 classes are given as answers"


def test_accuracy_exactly_at_the_bound_promotes_and_one_image_fewer_holds() -> None:
    wanted = policy(min_accuracy=wilson_interval(170, 200, 0.95).low)
    assert judge(from_matrix(SOUND), wanted=wanted).verdict == "promote"
    assert failing(judge(from_matrix([[90, 10], [21, 79]]), wanted=wanted)) == ["accuracy"]


def test_luck_on_a_small_test_set_does_not_pass() -> None:
    # 35 of 35 are needed to show 0.90; with 34 images all right are not enough.
    show = {"min_accuracy": 0.9}
    assert of_matrix("accuracy", [[17, 0], [0, 18]], **show).verdict == "promote"
    assert of_matrix("accuracy", [[17, 0], [0, 17]], **show).verdict == "hold"


def test_accuracy_of_grouped_images_is_the_lower_of_both_intervals() -> None:
    # 20 groups of ten images; 17 groups are right, 3 are wrong: 20 facts, not 200.
    correct = [1] * 170 + [0] * 30
    groups = [f"object {n // 10}" for n in range(200)]
    labels = [n % 2 for n in range(200)]
    predicted = [label if hit else 1 - label for label, hit in zip(labels, correct, strict=True)]
    check = row(judge(answers(labels, predicted, groups=groups)), "accuracy")
    hits_by_group = np.repeat([10, 0], [17, 3])
    expected = cluster_bootstrap_lower_bound(np.full(20, 10), hits_by_group, 0.95, worst=0)
    assert check.value == expected < 0.7
    assert "0.850 measured on 200 images in 20 groups, 95 % lower bound" in check.reason


def test_groups_that_say_no_more_than_single_images_leave_the_plain_interval() -> None:
    # 100 pairs, one right and one wrong each: drawn whole they hardly vary.
    groups = [f"{n // 2}" for n in range(200)]
    found = answers([0, 1] * 100, [0, 0] * 100, groups=groups)
    assert row(judge(found), "accuracy").value == wilson_interval(100, 200, 0.95).low


def test_one_group_alone_shows_no_accuracy_at_all() -> None:
    check = row(judge(answers([0, 1, 1], [0, 1, 1], groups=["a"] * 3)), "accuracy")
    assert check.value == 0


def test_reasons_give_the_numbers() -> None:
    assert of_matrix("accuracy", SOUND, min_accuracy=0.7).reason == (
        "accuracy is at least 0.794 (0.850 measured on 200 images, 95 % lower bound); "
        "0.700 is wanted"
    )
    macro_f1 = of_matrix("macro F1", SOUND, min_macro_f1=0.65)
    assert macro_f1.reason == "macro F1 is 0.850; 0.650 is wanted"


@pytest.mark.parametrize("num_classes", [2, 3, 6, 7, 10])
def test_macro_f1_exactly_at_the_bound_is_not_lost_to_rounding(num_classes: int) -> None:
    # Each class: 7 of 10 right, and 3 wrong answers from the class before: F1 = 14 / 20 = 0.7.
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for k in range(num_classes):
        matrix[k][k], matrix[k][(k + 1) % num_classes] = 7, 3
    exact = of_matrix("macro F1", matrix, min_macro_f1=0.7)
    assert exact.verdict == "promote"
    assert exact.reason == "macro F1 is 0.700; 0.700 is wanted"
    above = of_matrix("macro F1", matrix, min_macro_f1=math.nextafter(0.7, 1))
    assert above.verdict == "hold"


def test_macro_f1_averages_over_the_classes_that_have_test_images() -> None:
    # F1 of 180 / 210 and 160 / 190.
    expected = pytest.approx((180 / 210 + 160 / 190) / 2)
    assert of_matrix("macro F1", UNCOVERED).value == expected


@pytest.mark.parametrize("total", [7, 10, 100, 333])
def test_recall_exactly_at_the_bound_promotes_and_one_image_fewer_holds(total: int) -> None:
    for correct in range(1, total + 1, 1 + total // 50):
        limit = {"min_class_recall": float(str(correct / total))}
        exact = [[correct, total - correct], [0, 1]]
        assert of_matrix("class recall", exact, **limit).verdict == "promote"
        fewer = [[correct - 1, total - correct + 1], [0, 1]]
        assert of_matrix("class recall", fewer, **limit).verdict == "hold"


def test_a_collapsed_class_holds_however_good_the_mean_is() -> None:
    decision = judge(from_matrix([[990, 0], [7, 3]]), wanted=policy(min_class_recall=0.5))
    assert failing(decision) == ["class recall"]
    assert decision.checks[0].value == 0.3
    assert decision.checks[0].reason == (
        "the weakest class, class 1, is recognized at 0.300 (3 of 10); 0.500 is wanted"
    )


def test_of_equally_weak_classes_the_first_is_named() -> None:
    assert "the weakest class, class 0" in of_matrix("class recall", [[1, 1], [1, 1]]).reason


def test_overconfidence_holds_by_its_distance_from_the_truth() -> None:
    # Certainty 0.99 everywhere, 170 of 200 right: 0.99 - 0.85 = 0.14.
    sure = from_matrix(SOUND, certainty=0.99)
    decision = judge(sure, wanted=policy(max_ece=0.1))
    assert failing(decision) == ["calibration"]
    assert decision.checks[0].value == pytest.approx(0.14)
    assert decision.checks[0].reason == (
        "stated and true certainty differ on average by 0.140; 0.100 is allowed"
    )
    assert judge(sure, wanted=policy(max_ece=0.15)).verdict == "promote"


def test_calibration_is_measured_in_fifteen_bins() -> None:
    # 0.66 and 0.68 lie in different fifteenths, but in one tenth, fourteenth and sixteenth.
    found = answers([0] * 20, [0] * 20)
    lead = np.repeat([0.66, 0.68], 10)
    labels = np.repeat([0, 1, 0], [10, 6, 4])
    found = replace(found, probabilities=np.stack([lead, 1 - lead], axis=1), labels=labels)
    expected = (abs(1 - 0.66) + abs(0.4 - 0.68)) / 2
    assert row(judge(found), "calibration").value == pytest.approx(expected)


def test_size_and_speed_are_bounded_in_their_units() -> None:
    assert of_facts("model size", {}, max_model_mb=40.0).reason == (
        "the model has 44.800 MB; 40.000 is allowed"
    )
    slow = of_facts("latency", {"latency_p95_ms": 31.25}, max_latency_ms=30.0)
    assert slow.verdict == "hold"
    assert slow.reason == "19 of 20 pictures are answered within 31.250 ms; 30.000 is allowed"
    free = of_facts("latency", {"latency_p95_ms": 31.25})
    assert (free.verdict, free.wanted) == ("promote", "no bound")


def test_a_latency_that_is_bounded_but_was_not_measured_is_an_error() -> None:
    check = of_facts("latency", {}, max_latency_ms=30.0)
    assert check.verdict == "error"
    assert check.wanted == "<= 30"
    assert check.reason.startswith("bounded by the policy, but not measured")
    assert of_facts("latency", {}).reason == "not measured; no bound is set"


@pytest.mark.parametrize(
    ("earlier", "verdict", "says"),
    [
        (0, "promote", "1 models were judged on these test images; 20 are free"),
        (9, "promote", "10 models were judged on these test images; 20 are free"),
        (10, "warn", "; 20 are free; collect fresh test images"),
        (19, "warn", "20 models were judged on these test images; 20 are free; collect"),
        (39, "warn", "so every interval and test now asks for 97.5 % confidence; collect"),
    ],
)
def test_a_worn_test_set_is_first_said_then_counted(earlier: int, verdict: str, says: str) -> None:
    check = of_facts("test-set reuse", {"previous_test_uses": earlier})
    assert check.verdict == verdict
    assert check.value == earlier + 1
    assert says in check.reason
    assert ("asks for" in check.reason) == (earlier >= 20)
    assert ("collect fresh" in check.reason) == (verdict == "warn")


def test_a_worn_test_set_tightens_the_accuracy() -> None:
    fresh = of_facts("accuracy", {"previous_test_uses": 19})
    worn = of_facts("accuracy", {"previous_test_uses": 39})
    assert fresh.value == wilson_interval(170, 200, 0.95).low
    assert worn.value == pytest.approx(wilson_interval(170, 200, 0.975).low)
    assert "97.5 % lower bound" in worn.reason


def test_an_unbelievable_accuracy_or_gain_needs_a_person() -> None:
    found, rival = duel(60, 0, 200, right=139)
    wanted = policy(max_accuracy=0.99, max_accuracy_gain=0.25)
    check = row(judge(found, rival, wanted), "too good")
    assert check.verdict == "hold"
    assert check.value == 1
    assert check.wanted == "accuracy <= 0.99, gain <= 0.25"
    assert check.reason == (
        "accuracy 1.000 is above 0.99 and gain 0.300 is above 0.25: too good to be believed "
        "unseen; have a person look, then run `python -m pipeline approve`"
    )
    gain_alone = row(judge(found, rival, policy(max_accuracy_gain=0.29)), "too good")
    assert gain_alone.reason.startswith("gain 0.300 is above 0.29: too good")
    assert row(judge(found, rival, policy(max_accuracy_gain=0.3)), "too good").verdict == "promote"


def test_without_bounds_or_champion_nothing_is_too_good() -> None:
    free = of_matrix("too good", [[9, 0], [0, 9]])
    assert (free.verdict, free.wanted) == ("promote", "no bound")
    assert free.reason == "accuracy is 1.000, not beyond belief"
    first = of_matrix("too good", [[9, 0], [0, 9]], max_accuracy_gain=0.0)
    assert (first.verdict, first.wanted) == ("promote", "no bound")


def test_what_people_took_back_only_people_bring_back() -> None:
    check = of_facts("history", {"revoked_reason": "version 7 was rolled back on Monday"})
    assert check.verdict == "hold"
    assert check.reason == (
        "version 7 was rolled back on Monday; have a person look, then run `python -m pipeline "
        "approve`"
    )
    assert of_facts("history", {}).reason == "was never taken back"
