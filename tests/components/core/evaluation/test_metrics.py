import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from components.core.artifacts import ClassMetrics
from components.core.errors import PipelineError
from components.core.evaluation import metrics
from components.core.evaluation.metrics import Bin, ClassConfusion, RocPoint
from components.core.training.inference import probabilities

Ints = NDArray[np.int64]

# The first call of a library may take longer than hypothesis allows.
quick = settings(max_examples=60, deadline=None)

# 6 images: rows of the matrix [[2, 1, 0], [0, 1, 1], [1, 0, 0]]
LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 0])
MATRIX = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 0]])


@st.composite
def answered(draw: st.DrawFn) -> tuple[NDArray[np.float32], Ints]:
    """Logits (N, K) with ties, and labels that may leave classes out."""
    images, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = random.integers(-3, 4, (images, classes)).astype(np.float32)
    return logits, random.integers(0, classes, images)


def per_class(matrix: Ints) -> list[ClassMetrics]:
    return metrics.class_metrics(matrix, [f"c{k}" for k in range(len(matrix))])


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    assert metrics.confusion(LABELS, PREDICTED, 3).tolist() == MATRIX.tolist()


def test_classes_that_nobody_has_or_predicts_get_empty_rows_and_columns() -> None:
    matrix = metrics.confusion(np.array([1]), np.array([1]), 3)

    assert matrix.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_of_equal_scores_the_first_class_is_predicted() -> None:
    assert metrics.predicted_classes(np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])).tolist() == [
        0,
        1,
    ]


def test_numbers_of_the_small_matrix_are_those_computed_by_hand() -> None:
    classes = per_class(MATRIX)

    assert metrics.accuracy(MATRIX) == 0.5
    assert [c.precision for c in classes] == [2 / 3, 1 / 2, 0]
    assert [c.recall for c in classes] == [2 / 3, 1 / 2, 0]
    assert [c.f1 for c in classes] == [4 / 6, 2 / 4, 0]
    assert [c.support for c in classes] == [3, 2, 1]
    assert metrics.balanced_accuracy(classes) == pytest.approx(7 / 18)
    assert metrics.macro_f1(classes) == pytest.approx(7 / 18)


def test_a_class_without_images_is_zero_and_stays_out_of_the_averages() -> None:
    classes = per_class(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))

    assert classes[2] == ClassMetrics(name="c2", precision=0, recall=0, f1=0, support=0)
    assert metrics.balanced_accuracy(classes) == (0.75 + 1) / 2
    assert metrics.macro_f1(classes) == pytest.approx((6 / 7 + 8 / 9) / 2)


def test_weakest_class_first_equals_in_their_order_and_empty_ones_last() -> None:
    matrix = np.diag([1, 0, 0, 0, 3])
    matrix[1, 0], matrix[2, 0] = 1, 2

    assert [c.name for c in metrics.weakest_first(per_class(matrix))] == [
        "c1",
        "c2",
        "c0",
        "c4",
        "c3",
    ]


@quick
@given(answered())
def test_class_numbers_agree_with_scikit_learn(case: tuple[NDArray[np.float32], Ints]) -> None:
    logits, labels = case
    predicted, count = metrics.predicted_classes(logits), logits.shape[1]
    matrix = metrics.confusion(labels, predicted, count)
    classes = per_class(matrix)
    present = np.unique(labels)

    assert (matrix == reference.confusion_matrix(labels, predicted, labels=range(count))).all()
    expected = reference.precision_recall_fscore_support(
        labels, predicted, labels=range(count), zero_division=0
    )
    found = [(c.precision, c.recall, c.f1, c.support) for c in classes]
    np.testing.assert_allclose(found, np.transpose(expected))
    assert metrics.accuracy(matrix) == reference.accuracy_score(labels, predicted)
    recall = reference.recall_score(labels, predicted, labels=present, average="macro")
    assert metrics.balanced_accuracy(classes) == pytest.approx(recall)
    f1 = reference.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert metrics.macro_f1(classes) == pytest.approx(f1)


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    found = metrics.balanced_accuracy(per_class(MATRIX))

    assert found == pytest.approx(reference.balanced_accuracy_score(LABELS, PREDICTED))


def test_loss_is_the_mean_negative_logarithm_of_the_true_class() -> None:
    shares = np.array([[0.5, 0.5], [0.75, 0.25]])

    found = metrics.per_image_log_loss(shares, np.array([0, 1]))

    assert found == pytest.approx([math.log(2), math.log(4)])
    assert metrics.log_loss(shares, np.array([0, 1])) == pytest.approx(1.5 * math.log(2))


def test_a_sure_and_wrong_answer_costs_a_finite_loss() -> None:
    assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(36.04, abs=0.01)


@quick
@given(answered())
def test_log_loss_agrees_with_scikit_learn(case: tuple[NDArray[np.float32], Ints]) -> None:
    logits, labels = case
    shares = probabilities(logits, 0.7)

    expected = reference.log_loss(labels, shares, labels=range(logits.shape[1]))
    assert metrics.log_loss(shares, labels) == pytest.approx(expected)


def test_calibration_error_of_four_images_is_the_one_computed_by_hand() -> None:
    top = np.array([0.6, 0.7, 0.95, 0.85])
    shares = np.stack([top, 1 - top], axis=1)
    labels = np.array([0, 1, 0, 0])

    table = metrics.reliability(shares, labels, 4)

    assert table == [
        Bin(0.5, 0.75, 2, (0.6 + 0.7) / 2, 0.5),
        Bin(0.75, 1.0, 2, (0.95 + 0.85) / 2, 1.0),
    ]
    assert metrics.expected_calibration_error(table) == pytest.approx((0.15 + 0.1) / 2)


def test_a_probability_on_the_edge_belongs_to_the_bin_below() -> None:
    shares = np.array([[0.5, 0.5], [1.0, 0.0]])

    table = metrics.reliability(shares, np.array([0, 0]), 2)

    assert [(b.low, b.high, b.images) for b in table] == [(0.0, 0.5, 1), (0.5, 1.0, 1)]


@quick
@given(answered(), st.integers(2, 100))
def test_every_image_lies_inside_exactly_one_bin(
    case: tuple[NDArray[np.float32], Ints], bins: int
) -> None:
    logits, labels = case
    table = metrics.reliability(probabilities(logits, 1.3), labels, bins)

    assert sum(b.images for b in table) == len(labels)
    assert all(b.low - 1e-12 <= b.confidence <= b.high + 1e-12 for b in table)
    assert 0 <= metrics.expected_calibration_error(table) <= 1


def test_area_under_the_curve_counts_ordered_pairs_and_half_of_ties() -> None:
    positive = np.array([0.9, 0.4, 0.4])
    scores = np.concatenate([positive, [0.4, 0.1]])
    shares = np.stack([1 - scores, scores], axis=1)

    # pairs: 0.9 beats both; each 0.4 ties one and beats one
    assert metrics.roc_auc(shares, np.array([1, 1, 1, 0, 0])) == pytest.approx(5 / 6)


def test_area_is_unknown_when_all_images_are_of_one_class() -> None:
    assert metrics.roc_auc(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1])) is None


@quick
@given(answered())
def test_area_agrees_with_scikit_learn(case: tuple[NDArray[np.float32], Ints]) -> None:
    logits, labels = case
    shares = probabilities(logits, 1.0)
    found = metrics.roc_auc(shares, labels)
    present = np.unique(labels)
    if len(present) < 2:
        assert found is None
        return
    classes = [1] if logits.shape[1] == 2 else present
    assert found == pytest.approx(
        np.mean([reference.roc_auc_score(labels == c, shares[:, c]) for c in classes])
    )


def test_roc_curve_has_the_rates_computed_by_hand() -> None:
    scores = np.array([0.9, 0.6, 0.6, 0.2])
    positive = np.array([True, True, False, False])

    assert metrics.roc_curve(scores, positive, 200) == [
        RocPoint(0.9, 0.0, 0.5),
        RocPoint(0.6, 0.5, 1.0),
        RocPoint(0.2, 1.0, 1.0),
    ]


def test_roc_curve_is_thinned_keeps_its_ends_and_only_rises() -> None:
    random = np.random.default_rng(1)
    scores, positive = random.random(3_000), random.random(3_000) < 0.3

    curve = metrics.roc_curve(scores, positive, 200)

    assert len(curve) == 200
    assert (curve[0].threshold, curve[-1].threshold) == (scores.max(), scores.min())
    assert curve[-1][1:] == (1.0, 1.0)
    assert all(math.isfinite(value) for point in curve for value in point)
    rates = np.array([point[1:] for point in curve])
    assert (np.diff(rates, axis=0) >= 0).all()


@pytest.mark.parametrize("positive", [True, False])
def test_roc_curve_is_empty_without_both_kinds(positive: bool) -> None:
    assert metrics.roc_curve(np.array([0.1, 0.2]), np.array([positive] * 2), 200) == []


def test_most_confused_pairs_come_first_and_hits_never() -> None:
    matrix = np.array([[9, 0, 2], [3, 9, 0], [0, 2, 9]])

    assert metrics.most_confused(matrix, 2) == [ClassConfusion(1, 0, 3), ClassConfusion(0, 2, 2)]
    assert len(metrics.most_confused(matrix, 10)) == 3
    assert metrics.most_confused(np.diag([4, 5]), 3) == []
    assert matrix[0, 0] == 9


def test_all_numbers_of_three_images_are_those_computed_by_hand() -> None:
    logits = np.log(np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]], dtype=np.float32))

    found, classes, matrix = metrics.compute_metrics(
        logits, np.array([0, 1, 1]), ["a", "b"], 1.0, 10
    )

    assert matrix.tolist() == [[1, 0], [1, 1]]
    assert [c.name for c in classes] == ["a", "b"]
    assert found.num_images == 3
    assert found.accuracy == 2 / 3
    assert (found.accuracy_low, found.accuracy_high) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert found.balanced_accuracy == 0.75
    assert found.macro_f1 == pytest.approx(2 / 3)
    assert found.log_loss == pytest.approx(-math.log(0.8 * 0.4 * 0.9) / 3)
    assert found.ece == pytest.approx((0.2 + 0.6 + 0.1) / 3)
    assert found.ece == found.ece_uncalibrated
    assert found.roc_auc == 1.0
    assert found.majority_class_accuracy == 2 / 3


def test_temperature_changes_confidence_but_no_answer() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (50, 3)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, 50)

    sharp, _, one = metrics.compute_metrics(logits, labels, ["a", "b", "c"], 0.5, 15)
    soft, _, two = metrics.compute_metrics(logits, labels, ["a", "b", "c"], 5.0, 15)

    assert (one == two).all()
    assert sharp.log_loss > soft.log_loss
    assert sharp.ece != soft.ece
    assert sharp.ece_uncalibrated == soft.ece_uncalibrated
    assert sharp.roc_auc == metrics.roc_auc(probabilities(logits, 0.5), labels)
    assert sharp.roc_auc != soft.roc_auc
    assert sharp.majority_class_accuracy == np.bincount(labels).max() / 50


@quick
@given(answered())
def test_no_number_depends_on_the_order_of_the_images(
    case: tuple[NDArray[np.float32], Ints],
) -> None:
    logits, labels = case
    order = np.random.default_rng(len(labels)).permutation(len(labels))
    names = [f"c{k}" for k in range(logits.shape[1])]

    one, _, _ = metrics.compute_metrics(logits, labels, names, 1.7, 15)
    two, _, _ = metrics.compute_metrics(logits[order], labels[order], names, 1.7, 15)

    assert one == two


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_not_finite_are_refused(value: float) -> None:
    logits = np.zeros((5, 2), dtype=np.float32)
    logits[3, 0] = value

    with pytest.raises(PipelineError, match="1 of 5 images"):
        metrics.compute_metrics(logits, np.zeros(5, dtype=np.int64), ["a", "b"], 1.0, 15)


def test_a_thousand_classes_take_seconds() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(5_000, 1_000)).astype(np.float32)
    labels = random.integers(0, 1_000, 5_000)
    started = time.process_time()

    found, classes, matrix = metrics.compute_metrics(
        logits, labels, [f"c{k}" for k in range(1_000)], 1.0, 15
    )

    assert time.process_time() - started < 10
    assert len(classes) == 1_000
    assert matrix.sum() == 5_000
    assert found.roc_auc == pytest.approx(0.5, abs=0.02)
