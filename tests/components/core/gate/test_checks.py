import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from components.core.evaluation.intervals import cluster_bootstrap_lower_bound, wilson_interval
from components.core.gate.checks import CHECKS
from components.core.gate.gate_input import GateInput
from components.core.gate.record import Check
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
from tests.factories import predictions_of

UNCOVERED = [[90, 10, 0], [20, 80, 0], [0, 0, 0]]


def of_matrix(name: str, matrix: list[list[int]], **demands: object) -> Check:
    return row(decide_on(predictions_of(matrix), required=policy(**demands)), name)


def of_facts(name: str, facts: dict[str, Any], **demands: object) -> Check:
    return row(decide_on(predictions_of(SOUND), required=policy(**demands), **facts), name)


def test_checks_stand_in_this_order() -> None:
    case = GateInput(policy(), evidence_of(predictions_of(SOUND)), predictions_of(SOUND), None)
    assert [check(case).name for check in CHECKS] == [
        "data leakage",
        "test images",
        "test images per class",
        "prediction diversity",
        "accuracy",
        "macro F1",
        "class recall",
        "calibration",
        "champion",
        "per-class regression",
        "implausible result",
        "revocation",
        "test-set reuse",
        "model size",
        "latency",
    ]


@pytest.mark.row("P14")
def test_five_leaked_images_are_an_error_that_says_how_many() -> None:
    check = of_facts("data leakage", {"leaked_test_images": 5})
    assert check.status == "error"
    assert check.value == 5
    assert check.message == (
        "5 test images, or others of their groups, are also in train or val, so the predictions "
        "prove nothing; run `dvc repro`"
    )
    assert of_facts("data leakage", {}).message == "no test image is also in train or val"


def test_a_model_is_blocked_when_the_test_split_is_too_small() -> None:
    check = of_matrix("test images", SOUND, min_test_images=201)
    assert check.status == "fail"
    assert (
        check.message == "too few images to tell: only 200 test images; at least 201 are required"
    )
    assert check.threshold == ">= 201"
    enough = of_matrix("test images", SOUND, min_test_images=200)
    assert enough.message == "200 test images; at least 200 are required"


def test_gate_names_the_classes_with_too_few_test_images() -> None:
    matrix = [[1, 0, 0, 0, 0]] + [[0] * 5 for _ in range(4)]
    check = of_matrix("test images per class", matrix)
    assert check.status == "fail"
    assert check.value == 0
    assert check.message == (
        "too few images to tell: too few of class 1 (0), class 2 (0), class 3 (0) and 1 more; at "
        "least 1 are required"
    )
    two = of_matrix("test images per class", UNCOVERED)
    assert two.message == "too few images to tell: too few of class 2 (0); at least 1 are required"
    three = of_matrix("test images per class", SOUND, min_test_images_per_class=101)
    assert "class 0 (100), class 1 (100); at least 101 are required" in three.message
    fine = of_matrix("test images per class", SOUND, min_test_images_per_class=7)
    assert (
        fine.message == "each of the 2 classes has 100 test images or more; at least 7 are required"
    )


def test_three_small_classes_are_all_named() -> None:
    check = of_matrix("test images per class", [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
                      min_test_images_per_class=2)  # fmt: skip
    assert check.message.endswith("class 0 (1), class 1 (1), class 2 (1); at least 2 are required")


@pytest.mark.row("P15")
def test_a_model_that_predicts_only_one_class_is_blocked_whatever_share_is_right() -> None:
    outcome = decide_on(predictions_of([[990, 0], [10, 0]]))
    assert failing(outcome) == ["prediction diversity"]
    assert outcome.checks[0].value == 1
    assert outcome.checks[0].message == ("every test image is predicted as class 0")
    two = of_matrix("prediction diversity", [[990, 0, 0], [9, 1, 0], [1, 0, 0]])
    assert (two.status, two.value) == ("pass", 2)
    assert two.message == "2 of the 3 classes are predicted"


@pytest.mark.row("P10")
def test_accuracy_exactly_at_the_bound_passes_and_one_image_fewer_fails() -> None:
    required = policy(min_accuracy=wilson_interval(170, 200, 0.95).low)
    assert decide_on(predictions_of(SOUND), required=required).verdict == "passed"
    assert failing(decide_on(predictions_of([[90, 10], [21, 79]]), required=required)) == [
        "accuracy"
    ]


@pytest.mark.row("P11")
def test_luck_on_a_small_test_set_does_not_pass() -> None:
    # 35 of 35 are needed to show 0.90; with 34 images all right are not enough.
    show = {"min_accuracy": 0.9}
    assert of_matrix("accuracy", [[17, 0], [0, 18]], **show).status == "pass"
    assert of_matrix("accuracy", [[17, 0], [0, 17]], **show).status == "fail"


def test_accuracy_of_grouped_images_is_the_lower_of_both_intervals() -> None:
    # 20 groups of ten images; 17 groups are right, 3 are wrong: 20 facts, not 200.
    correct = [1] * 170 + [0] * 30
    groups = [f"object {n // 10}" for n in range(200)]
    labels = [n % 2 for n in range(200)]
    predicted = [label if hit else 1 - label for label, hit in zip(labels, correct, strict=True)]
    check = row(decide_on(predictions(labels, predicted, groups=groups)), "accuracy")
    hits_by_group = np.repeat([10, 0], [17, 3])
    expected = cluster_bootstrap_lower_bound(np.full(20, 10), hits_by_group, 0.95, worst=0)
    assert check.value == expected < 0.7
    assert "0.850 on 200 images in 20 groups, 95 % lower bound" in check.message


def test_groups_that_say_no_more_than_single_images_leave_the_plain_interval() -> None:
    # 100 pairs, one right and one wrong each: drawn whole they hardly vary.
    groups = [f"{n // 2}" for n in range(200)]
    found = predictions([0, 1] * 100, [0, 0] * 100, groups=groups)
    assert row(decide_on(found), "accuracy").value == wilson_interval(100, 200, 0.95).low


def test_one_group_alone_shows_no_accuracy_at_all() -> None:
    check = row(decide_on(predictions([0, 1, 1], [0, 1, 1], groups=["a"] * 3)), "accuracy")
    assert check.value == 0


def test_messages_give_the_numbers() -> None:
    assert of_matrix("accuracy", SOUND, min_accuracy=0.7).message == (
        "accuracy is at least 0.794 (0.850 on 200 images, 95 % lower bound); at least 0.700 is "
        "required"
    )
    macro_f1 = of_matrix("macro F1", SOUND, min_macro_f1=0.65)
    assert macro_f1.message == "macro F1 is 0.850; at least 0.650 is required"


@pytest.mark.parametrize("num_classes", [2, 3, 6, 7, 10])
def test_macro_f1_exactly_at_the_bound_is_not_lost_to_rounding(num_classes: int) -> None:
    # Each class: 7 of 10 right, and 3 wrong predictions of the class before: F1 = 14 / 20 = 0.7.
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for k in range(num_classes):
        matrix[k][k], matrix[k][(k + 1) % num_classes] = 7, 3
    exact = of_matrix("macro F1", matrix, min_macro_f1=0.7)
    assert exact.status == "pass"
    assert exact.message == "macro F1 is 0.700; at least 0.700 is required"
    above = of_matrix("macro F1", matrix, min_macro_f1=math.nextafter(0.7, 1))
    assert above.status == "fail"


def test_macro_f1_averages_over_the_classes_that_have_test_images() -> None:
    # F1 of 180 / 210 and 160 / 190.
    expected = pytest.approx((180 / 210 + 160 / 190) / 2)
    assert of_matrix("macro F1", UNCOVERED).value == expected


@pytest.mark.parametrize("total", [7, 10, 100, 333])
def test_recall_exactly_at_the_bound_passes_and_one_image_fewer_fails(total: int) -> None:
    for correct in range(1, total + 1, 1 + total // 50):
        limit = {"min_class_recall": float(str(correct / total))}
        exact = [[correct, total - correct], [0, 1]]
        assert of_matrix("class recall", exact, **limit).status == "pass"
        fewer = [[correct - 1, total - correct + 1], [0, 1]]
        assert of_matrix("class recall", fewer, **limit).status == "fail"


@pytest.mark.row("P12")
def test_a_collapsed_class_fails_however_good_the_mean_is() -> None:
    outcome = decide_on(predictions_of([[990, 0], [7, 3]]), required=policy(min_class_recall=0.5))
    assert failing(outcome) == ["class recall"]
    assert outcome.checks[0].value == 0.3
    assert outcome.checks[0].message == (
        "the weakest class, class 1, has recall 0.300 (3 of 10); at least 0.500 is required"
    )


def test_of_equally_weak_classes_the_first_is_named() -> None:
    assert "the weakest class, class 0" in of_matrix("class recall", [[1, 1], [1, 1]]).message


def test_overconfidence_fails_by_its_distance_from_the_truth() -> None:
    # Confidence 0.99 everywhere, 170 of 200 right: 0.99 - 0.85 = 0.14.
    confident = predictions_of(SOUND, confidence=0.99)
    outcome = decide_on(confident, required=policy(max_ece=0.1))
    assert failing(outcome) == ["calibration"]
    assert outcome.checks[0].value == pytest.approx(0.14)
    assert outcome.checks[0].message == (
        "expected calibration error (ECE) is 0.140; at most 0.100 is allowed"
    )
    assert decide_on(confident, required=policy(max_ece=0.15)).verdict == "passed"


def test_calibration_is_measured_in_fifteen_bins() -> None:
    # 0.66 and 0.68 lie in different fifteenths, but in one tenth, fourteenth and sixteenth.
    found = predictions([0] * 20, [0] * 20)
    lead = np.repeat([0.66, 0.68], 10)
    labels = np.repeat([0, 1, 0], [10, 6, 4])
    found = replace(found, probabilities=np.stack([lead, 1 - lead], axis=1), labels=labels)
    expected = (abs(1 - 0.66) + abs(0.4 - 0.68)) / 2
    assert row(decide_on(found), "calibration").value == pytest.approx(expected)


def test_size_and_speed_are_bounded_in_their_units() -> None:
    assert of_facts("model size", {}, max_model_mb=40.0).message == (
        "the model has 44.800 MB; at most 40.000 is allowed"
    )
    slow = of_facts("latency", {"latency_p95_ms": 31.25}, max_latency_ms=30.0)
    assert slow.status == "fail"
    assert slow.message == "95 % of the images take at most 31.250 ms; at most 30.000 is allowed"
    free = of_facts("latency", {"latency_p95_ms": 31.25})
    assert (free.status, free.threshold) == ("skipped", "no bound")


def test_a_latency_that_is_bounded_but_was_not_measured_is_an_error() -> None:
    check = of_facts("latency", {}, max_latency_ms=30.0)
    assert check.status == "error"
    assert check.threshold == "<= 30"
    assert check.message.startswith("bounded by the policy, but not measured")
    assert of_facts("latency", {}).message == "no bound is set"


@pytest.mark.parametrize(
    ("earlier", "verdict", "says"),
    [
        (0, "pass", "1 of 20 allowed evaluations on these test images are used"),
        (9, "pass", "10 of 20 allowed evaluations on these test images are used"),
        (10, "warn", "are used; collect fresh test images"),
        (19, "warn", "20 of 20 allowed evaluations on these test images are used; collect"),
        (39, "warn", "so every interval and test now has a confidence level of 97.5 %; collect"),
    ],
)
def test_reuse_of_the_test_set_is_first_stated_then_counted(
    earlier: int, verdict: str, says: str
) -> None:
    check = of_facts("test-set reuse", {"previous_test_uses": earlier})
    assert check.status == verdict
    assert check.value == earlier + 1
    assert says in check.message
    assert ("now has" in check.message) == (earlier >= 20)
    assert ("collect fresh" in check.message) == (verdict == "warn")


def test_a_reused_test_set_tightens_the_accuracy() -> None:
    fresh = of_facts("accuracy", {"previous_test_uses": 19})
    reused = of_facts("accuracy", {"previous_test_uses": 39})
    assert fresh.value == wilson_interval(170, 200, 0.95).low
    assert reused.value == pytest.approx(wilson_interval(170, 200, 0.975).low)
    assert "97.5 % lower bound" in reused.message


def test_an_implausible_accuracy_or_gain_needs_a_person() -> None:
    found, champion = model_and_champion(60, 0, 200, right=139)
    required = policy(max_accuracy=0.99, max_accuracy_gain=0.25)
    check = row(decide_on(found, champion, required), "implausible result")
    assert check.status == "fail"
    assert check.value == 1
    assert check.threshold == "accuracy <= 0.99, gain <= 0.25"
    assert check.message == (
        "accuracy 1.000 is above 0.99 and gain 0.300 is above 0.25: implausible for unseen "
        "images; have a person look, then run `python -m pipeline approve`"
    )
    gain_alone = row(
        decide_on(found, champion, policy(max_accuracy_gain=0.29)), "implausible result"
    )
    assert gain_alone.message.startswith("gain 0.300 is above 0.29: implausible")
    assert (
        row(decide_on(found, champion, policy(max_accuracy_gain=0.3)), "implausible result").status
        == "pass"
    )


def test_without_bounds_or_champion_nothing_is_implausible() -> None:
    free = of_matrix("implausible result", [[9, 0], [0, 9]])
    assert (free.status, free.threshold) == ("skipped", "no bound")
    assert free.message == "accuracy is 1.000; no bound is set"
    first = of_matrix("implausible result", [[9, 0], [0, 9]], max_accuracy_gain=0.0)
    assert (first.status, first.threshold) == ("skipped", "no bound")


def test_only_a_person_promotes_again_what_was_revoked() -> None:
    check = of_facts("revocation", {"revoked_reason": "version 7 was rolled back on Monday"})
    assert check.status == "fail"
    assert check.message == (
        "version 7 was rolled back on Monday; have a person look, then run `python -m pipeline "
        "approve`"
    )
    assert of_facts("revocation", {}).message == "was never rejected, rolled back or replaced"
