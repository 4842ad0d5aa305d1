import numpy as np
import pytest

from components.core.evaluation.label_issues import assign_folds, find


def test_the_count_is_that_of_confident_learning_by_hand() -> None:
    """Thresholds: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.5) / 2 = 0.6."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.5, 0.5]])
    found = find(probabilities, np.array([0, 0, 0, 1, 1]))
    assert found.suspicious.tolist() == [False, False, True, False, False]
    assert found.proposed.tolist() == [1, 1, 1, 0, 0]
    assert found.margin == pytest.approx([0.8, 0.6, -0.8, 0.4, 0.0])
    assert found.order.tolist() == [2, 4, 3, 1, 0]


def test_a_class_without_an_image_is_proposed_to_nobody() -> None:
    found = find(np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]]), np.array([0, 1]))
    assert not found.suspicious[1]
    assert found.proposed[0] != 2 or not found.suspicious[0]


def test_planted_wrong_labels_come_first() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 400)
    logits = rng.normal(size=(400, 4)) + 4 * np.eye(4)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.choice(400, 20, replace=False)
    labels = true.copy()
    labels[wrong] = (true[wrong] + 1) % 4
    found = find(probabilities, labels)
    assert len(set(found.order[:20]) & set(wrong)) >= 16
    caught = [k for k in found.order[:20] if k in set(wrong)]
    assert np.mean(found.proposed[caught] == true[caught]) > 0.9


def test_groups_stay_whole_and_classes_are_spread() -> None:
    labels = np.array([0] * 20 + [1] * 10)
    groups = [f"g{k // 2}" for k in range(30)]
    folds = assign_folds(labels, groups, 5)
    for name in set(groups):
        assert len({int(f) for f, g in zip(folds, groups, strict=True) if g == name}) == 1
    for label, count in ((0, 4), (1, 2)):
        assert np.bincount(folds[labels == label], minlength=5).tolist() == [count] * 5


def test_folds_do_not_depend_on_the_order_of_images() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    groups = [f"{label}-{k // 3}" for k, label in enumerate(labels)]
    order = rng.permutation(60)
    moved = assign_folds(labels[order], [groups[k] for k in order], 4)
    assert moved.tolist() == assign_folds(labels, groups, 4)[order].tolist()
