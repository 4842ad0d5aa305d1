import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.core.artifacts import ClassMetrics, Decision, Evaluation, Metrics
from components.core.gate import GatePolicy, decide, wilson_interval

SOUND = [[90, 10], [20, 80]]  # 170 of 200; recalls 0.9 and 0.8


def policy(**changes: float) -> GatePolicy:
    easy = {"min_accuracy": 0.0, "min_macro_f1": 0.0, "min_class_recall": 0.0, "min_test_images": 1}
    return GatePolicy.model_validate(easy | changes)


def evidence(confusion: list[list[int]], **changes: object) -> Evaluation:
    """What evaluate writes for this confusion matrix, with some metrics replaced unchecked."""
    support = [sum(row) for row in confusion]
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    hits = [row[k] for k, row in enumerate(confusion)]
    total, correct = sum(support), sum(hits)
    f1 = [2 * h / max(s + p, 1) for h, s, p in zip(hits, support, predicted, strict=True)]
    present = [k for k, count in enumerate(support) if count]
    interval = wilson_interval(correct, total)
    metrics = Metrics(
        num_images=total,
        accuracy=correct / total,
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        balanced_accuracy=0.5,
        macro_f1=sum(f1[k] for k in present) / len(present),
        log_loss=0.4,
        ece=0.02,
        ece_uncalibrated=0.05,
        roc_auc=0.9,
        majority_share=max(support) / total,
    )
    per_class = [
        ClassMetrics(
            name=f"class {k}",
            precision=hits[k] / max(predicted[k], 1),
            recall=hits[k] / max(support[k], 1),
            f1=f1[k],
            support=support[k],
        )
        for k in range(len(confusion))
    ]
    return Evaluation(
        metrics=metrics.model_copy(update=changes),
        per_class=per_class,
        confusion=confusion,
        model_digest="a" * 64,
        data_digest="b" * 64,
        predictions_sha256="c" * 64,
    )


def failing(decision: Decision) -> list[str]:
    return [check.name for check in decision.checks if check.verdict != "promote"]


def reason_of(decision: Decision, name: str) -> str:
    return {check.name: check.reason for check in decision.checks}[name]


def test_wilson_interval_agrees_with_published_values() -> None:
    # Wilson interval of 9 of 10, and of 95 of 100, as in any table.
    assert wilson_interval(9, 10).low == pytest.approx(0.59585, abs=1e-5)
    assert wilson_interval(9, 10).high == pytest.approx(0.98212, abs=1e-5)
    assert wilson_interval(95, 100).low == pytest.approx(0.88825, abs=1e-5)
    assert wilson_interval(35, 35).low == pytest.approx(0.90109, abs=1e-5)


@given(st.floats(0, 10))
def test_wilson_interval_takes_another_quantile(z: float) -> None:
    assert wilson_interval(0, 10, z).low == pytest.approx(0, abs=1e-9)
    assert wilson_interval(10, 10, z).high == pytest.approx(1)
    assert wilson_interval(9, 10, z=0.0).low == pytest.approx(0.9)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    correct, total = counts
    interval = wilson_interval(correct, total)
    assert 0 <= interval.low <= correct / total + 1e-15
    assert correct / total - 1e-15 <= interval.high <= 1


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_what_is_no_share(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(correct, total)


# A passing and a failing threshold for each check on a matrix of 200 images; class 2 of the second
# matrix has no image. The Wilson lower bound of 170 / 200 is 0.7939.
THRESHOLDS: Mapping[str, tuple[str, float, float]] = {
    "test images": ("min_test_images", 200, 201),
    "accuracy": ("min_accuracy", 0.79, 0.80),
    "macro F1": ("min_macro_f1", 0.84, 0.86),
    "class recall": ("min_class_recall", 0.80, 0.81),
}
UNCOVERED = [[90, 10, 0], [20, 80, 0], [0, 0, 0]]


@pytest.mark.parametrize("covered", [True, False])
@pytest.mark.parametrize("fails", list(itertools.product([False, True], repeat=4)))
def test_every_combination_of_checks_holds_exactly_when_one_fails(
    fails: tuple[bool, ...], covered: bool
) -> None:
    wanted = {
        setting: low if not fail else high
        for fail, (setting, low, high) in zip(fails, THRESHOLDS.values(), strict=True)
    }
    decision = decide(policy(**wanted), evidence(SOUND if covered else UNCOVERED))
    expected = {name for name, fail in zip(THRESHOLDS, fails, strict=True) if fail}
    expected |= set() if covered else {"class coverage"}
    assert set(failing(decision)) == expected
    assert decision.verdict == ("hold" if expected else "promote")
    assert len(decision.checks) == 6
    assert set(failing(decision)) == {c.name for c in decision.checks[: len(expected)]}


def test_accuracy_exactly_at_the_threshold_promotes_and_one_image_fewer_holds() -> None:
    wanted = wilson_interval(170, 200).low
    assert decide(policy(min_accuracy=wanted), evidence(SOUND)).verdict == "promote"
    one_fewer = evidence([[90, 10], [21, 79]])
    assert failing(decide(policy(min_accuracy=wanted), one_fewer)) == ["accuracy"]


@pytest.mark.parametrize("total", [7, 10, 100, 333, 1000])
def test_recall_exactly_at_the_threshold_promotes_and_one_image_fewer_holds(total: int) -> None:
    for correct in range(1, total + 1):
        limit = policy(min_class_recall=float(str(correct / total)))
        exact = [[correct, total - correct], [0, 1]]
        assert decide(limit, evidence(exact)).verdict == "promote"
        fewer = [[correct - 1, total - correct + 1], [0, 1]]
        assert failing(decide(limit, evidence(fewer))) == ["class recall"]


@pytest.mark.parametrize("num_classes", [2, 3, 6, 7, 10])
def test_macro_f1_exactly_at_the_threshold_is_not_lost_to_rounding(num_classes: int) -> None:
    # Each class: 7 of 10 right, and 3 wrong answers from the class before: F1 = 14 / 20 = 0.7.
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for k in range(num_classes):
        matrix[k][k], matrix[k][(k + 1) % num_classes] = 7, 3
    exact = decide(policy(min_macro_f1=0.7), evidence(matrix))
    assert exact.verdict == "promote"
    assert reason_of(exact, "macro F1") == "macro F1 is 0.700; 0.700 is wanted"
    assert decide(policy(min_macro_f1=math.nextafter(0.7, 1)), evidence(matrix)).verdict == "hold"


def test_macro_f1_averages_over_the_classes_that_have_test_images() -> None:
    decision = decide(policy(min_macro_f1=0.84), evidence(UNCOVERED))
    assert failing(decision) == ["class coverage"]


def test_gate_holds_when_the_test_split_is_too_small() -> None:
    decision = decide(policy(min_test_images=201), evidence(SOUND))
    assert decision.verdict == "hold"
    assert decision.checks[0].reason == "too small to tell: only 200 test images; 201 are wanted"


def test_gate_names_the_classes_without_test_images() -> None:
    matrix = [[1, 0, 0, 0, 0]] + [[0] * 5 for _ in range(4)]
    decision = decide(policy(), evidence(matrix))
    assert decision.checks[0].reason == (
        "too small to tell: no test image of class 1, class 2, class 3 and 1 more"
    )
    two = decide(policy(), evidence(UNCOVERED))
    assert two.checks[0].reason == "too small to tell: no test image of class 2"


def test_a_collapsed_class_holds_however_good_the_mean_is() -> None:
    decision = decide(policy(min_class_recall=0.5), evidence([[990, 0], [7, 3]]))
    assert failing(decision) == ["class recall"]
    assert decision.checks[0].value == pytest.approx(0.3)
    assert decision.checks[0].reason == (
        "the weakest class, class 1, is recognised at 0.300 (3 of 10); 0.500 is wanted"
    )


def test_reasons_give_the_numbers() -> None:
    decision = decide(policy(min_accuracy=0.7, min_macro_f1=0.65), evidence(SOUND))
    assert reason_of(decision, "accuracy") == (
        "accuracy is at least 0.794 (0.850 measured on 200 images, 95 % lower bound); "
        "0.700 is wanted"
    )
    assert reason_of(decision, "macro F1") == "macro F1 is 0.850; 0.650 is wanted"


def test_a_near_miss_is_shown_with_enough_digits() -> None:
    decision = decide(policy(min_class_recall=0.7), evidence([[6999, 3001], [0, 1]]))
    assert "0.6999 (6,999 of 10,000); 0.7000 is wanted" in decision.checks[0].reason


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"log_loss": math.nan}, "log_loss is nan"),
        ({"log_loss": math.inf}, "log_loss is inf"),
        ({"roc_auc": math.nan}, "roc_auc"),
        ({"accuracy": math.nan}, "accuracy"),
        ({"accuracy": None}, "accuracy"),
        ({"accuracy": 0.85 + 2e-9}, "accuracy is stated as 0.850000002"),
        ({"accuracy_low": 0.7}, "accuracy_low"),
        ({"accuracy_high": 0.99}, "accuracy_high"),
        ({"macro_f1": 0.9}, "macro_f1"),
        ({"num_images": 199}, "num_images is stated as 199"),
        ({"num_images": "many"}, "num_images"),
    ],
)
def test_a_metric_that_is_not_finite_or_not_true_is_an_error(
    changes: dict[str, object], named: str
) -> None:
    decision = decide(policy(), evidence(SOUND, **changes))
    assert decision.verdict == "error"
    assert named in decision.checks[0].reason
    assert len(decision.checks) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("support", 99), ("recall", 0.91), ("precision", 0.5), ("f1", 0.5), ("recall", math.nan)],
)
def test_a_class_that_disagrees_with_the_matrix_is_an_error(field: str, value: float) -> None:
    sound = evidence(SOUND)
    edited = sound.per_class[0].model_copy(update={field: value})
    decision = decide(
        policy(), sound.model_copy(update={"per_class": [edited, sound.per_class[1]]})
    )
    assert decision.verdict == "error"


@pytest.mark.parametrize(
    ("confusion", "named"),
    [
        ([[1, 2], [3]], "not square"),
        ([[1, 2, 3], [4, 5, 6]], "not square"),
        ([[170, 15, 0], [15, 0, 0], [0, 0, 0]], "not square"),
        ([[180, 30], [-10, 0]], "negative"),
        ([], "not square"),
        ([[0, 0], [0, 0]], "no test image"),
        ([[1.5, 0], [0, 0]], "confusion"),
    ],
)
def test_a_broken_confusion_matrix_is_an_error(confusion: list[list[int]], named: str) -> None:
    decision = decide(policy(), evidence(SOUND).model_copy(update={"confusion": confusion}))
    assert decision.verdict == "error"
    assert named in decision.checks[0].reason


def test_missing_evidence_is_an_error() -> None:
    nothing: dict[str, Any] = {}
    assert decide(policy(), Evaluation.model_construct(**nothing)).verdict == "error"
    hollow = evidence(SOUND).model_copy(update={"metrics": Metrics.model_construct(**nothing)})
    assert decide(policy(), hollow).verdict == "error"


@pytest.mark.parametrize("setting", list(GatePolicy.model_fields))
def test_a_policy_without_a_usable_threshold_is_an_error(setting: str) -> None:
    without = policy().model_dump(exclude={setting})
    assert decide(GatePolicy.model_construct(None, **without), evidence(SOUND)).verdict == "error"
    broken = policy().model_copy(update={setting: math.nan})
    assert decide(broken, evidence(SOUND)).verdict == "error"


@pytest.mark.parametrize(
    "changes",
    [{"min_accuracy": 95}, {"min_accuracy": -0.1}, {"min_accuracy": "0.9"}, {"min_accuracy": True},
     {"min_test_images": 0}, {"min_test_images": 1.5}, {"min_recall": 0.1}],
)  # fmt: skip
def test_a_policy_out_of_range_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        policy(**changes)


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(
            st.lists(st.integers(0, 50), min_size=k, max_size=k), min_size=k, max_size=k
        )
    ),
    st.floats(0, 1),
)
def test_promote_means_that_every_threshold_is_met(matrix: list[list[int]], limit: float) -> None:
    if not sum(map(sum, matrix)):
        return
    wanted = policy(min_accuracy=limit, min_macro_f1=limit, min_class_recall=limit)
    decision = decide(wanted, evidence(matrix))
    assert decision.verdict in {"promote", "hold"}
    if decision.verdict == "promote":
        assert all(row[k] >= limit * sum(row) - 1e-9 for k, row in enumerate(matrix))
        assert all(sum(row) for row in matrix)
