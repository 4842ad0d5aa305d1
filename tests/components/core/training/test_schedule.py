"""Learning rates, image sizes, batches and seeds: all computed by hand or checked as laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.training.schedule import (
    balanced_weights,
    derive_seed,
    learning_rate_at,
    shuffled_batches,
    stratified_subset,
)


def test_balanced_weights_are_those_of_the_formula() -> None:
    # 6 images, 2 classes, 4 and 2 of them: 6 / (2 * 4) and 6 / (2 * 2)
    assert balanced_weights(np.array([0, 1, 0, 1, 0, 0]), 2) == (0.75, 1.5)


def test_balanced_weights_stay_finite_for_a_class_without_images() -> None:
    assert balanced_weights(np.array([0, 0, 2, 2]), 3) == (4 / 6, 4 / 3, 4 / 6)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_balanced_weights_give_every_class_present_the_same_total(labels: list[int]) -> None:
    weights = balanced_weights(np.array(labels), 5)
    totals = [weights[k] * labels.count(k) for k in set(labels)]
    assert totals == pytest.approx([len(labels) / 5] * len(totals))


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.25),  # warm-up: 4 of 20 steps, in quarters
        (1, 0.5),
        (3, 1.0),
        (4, 1.0),  # the cosine starts at its peak
        (8, 0.5 * (1 + math.cos(math.pi / 4))),
        (12, 0.5),  # halfway down
        (19, 0.5 * (1 + math.cos(math.pi * 15 / 16))),
    ],
)
def test_the_learning_rate_rises_linearly_then_falls_as_half_a_cosine(
    step: int, rate: float
) -> None:
    assert learning_rate_at(step, total=20, peak=1.0, warmup_fraction=0.2) == pytest.approx(
        rate, abs=1e-12
    )
    assert learning_rate_at(step, total=20, peak=3e-4, warmup_fraction=0.2) == pytest.approx(
        3e-4 * rate
    )


def test_without_warm_up_the_first_step_has_the_peak_rate() -> None:
    assert learning_rate_at(0, total=10, peak=0.01, warmup_fraction=0.0) == 0.01
    assert learning_rate_at(0, total=1, peak=0.01, warmup_fraction=0.0) == 0.01


@given(
    total=st.integers(1, 400),
    warmup_fraction=st.floats(0, 0.99),
    peak=st.floats(1e-6, 0.1),
    data=st.data(),
)
def test_every_step_learns_and_none_exceeds_the_peak(
    total: int, warmup_fraction: float, peak: float, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, total - 1))
    assert 0 < learning_rate_at(step, total, peak, warmup_fraction) <= peak * (1 + 1e-12)


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    parts = [(0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 1), ("order",)]
    seeds = [derive_seed(*values) for values in parts]
    assert len(set(seeds)) == 5
    # The first 8 bytes of SHA-256("0/order/1"), halved to 63 bits: the same on every machine.
    assert derive_seed(0, "order", 1) == 0x7C9B834547AC6879 >> 1
    assert 0 <= derive_seed(0) < 2**63


@pytest.mark.row("R14")
@given(
    count=st.integers(2, 300),
    batch_size=st.integers(1, 128),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(1, 50),
)
@settings(max_examples=60)
def test_batches_hold_every_image_once_and_none_holds_a_single_one(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    parts = shuffled_batches(count, batch_size, seed, epoch)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    sizes = [len(part) for part in parts]
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch_size, 2) + 1


def test_batches_keep_to_the_batch_size_and_have_the_least_number() -> None:
    assert [len(part) for part in shuffled_batches(33, 16, 0, 1)] == [11, 11, 11]
    assert [len(part) for part in shuffled_batches(32, 16, 0, 1)] == [16, 16]
    assert [len(part) for part in shuffled_batches(5, 100, 0, 1)] == [5]


def test_a_lone_image_is_a_batch() -> None:
    assert [part.tolist() for part in shuffled_batches(1, 8, 0, 1)] == [[0]]


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return [part.tolist() for part in shuffled_batches(40, 8, seed, epoch)]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_a_batch_mixes_the_classes_of_a_sorted_list() -> None:
    # Images 0..49 are one class, 50..99 the other: no batch of 20 is of one class.
    for part in shuffled_batches(100, 20, seed=0, epoch=1):
        assert 0 < (part < 50).sum() < len(part)


def test_a_subset_takes_its_share_of_every_class() -> None:
    labels = np.array([0] * 100 + [1] * 20 + [2] * 3)
    chosen = stratified_subset(labels, 0.25, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [25, 5, 2]  # never fewer than two
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_a_subset_is_no_prefix_of_a_class() -> None:
    labels = np.array([0] * 100 + [1] * 100)
    chosen = stratified_subset(labels, 0.1, seed=0)
    assert chosen.tolist() != [*range(10), *range(100, 110)]
    assert stratified_subset(labels, 0.1, seed=1).tolist() != chosen.tolist()
    assert stratified_subset(labels, 0.1, seed=0).tolist() == chosen.tolist()


def test_a_fraction_of_one_is_every_image() -> None:
    assert stratified_subset(np.array([1, 0, 1, 1]), 1.0, seed=0).tolist() == [0, 1, 2, 3]


def test_a_class_of_one_image_is_kept() -> None:
    assert stratified_subset(np.array([0, 1, 0, 0]), 0.1, seed=0).tolist().count(1) == 1


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=80),
    fraction=st.floats(0.01, 1.0),
    seed=st.integers(0, 99),
)
def test_a_subset_has_two_of_every_class_that_has_two(
    labels: list[int], fraction: float, seed: int
) -> None:
    array = np.array(labels)
    chosen = array[stratified_subset(array, fraction, seed)].tolist()
    assert all(chosen.count(k) >= min(2, labels.count(k)) for k in set(labels))
