import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from components.core.evaluation.intervals import (
    cluster_bootstrap_lower_bound,
    holm,
    paired_lower_bound,
    sign_flip_p_value,
    sum_by_group,
    wilson_interval,
)

# The first call of a library may take longer than hypothesis allows.
quick = settings(max_examples=60, deadline=None)


def test_wilson_interval_agrees_with_published_values() -> None:
    # Wilson interval of 9 of 10, and of 95 of 100, as in any table.
    assert wilson_interval(9, 10, 0.95).low == pytest.approx(0.59585, abs=1e-5)
    assert wilson_interval(9, 10, 0.95).high == pytest.approx(0.98212, abs=1e-5)
    assert wilson_interval(95, 100, 0.95).low == pytest.approx(0.88825, abs=1e-5)
    assert wilson_interval(35, 35, 0.95).low == pytest.approx(0.90109, abs=1e-5)


@given(st.floats(0, 0.999999))
def test_wilson_interval_takes_another_confidence(confidence: float) -> None:
    assert wilson_interval(0, 10, confidence).low == 0
    assert wilson_interval(10, 10, confidence).high == pytest.approx(1)
    assert wilson_interval(9, 10, 0.0).low == pytest.approx(0.9)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    correct, total = counts
    interval = wilson_interval(correct, total, 0.95)
    assert 0 <= interval.low <= correct / total + 1e-15
    assert correct / total - 1e-15 <= interval.high <= 1


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_what_is_not_a_share(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(correct, total, 0.95)


def test_paired_interval_agrees_with_a_published_example() -> None:
    # Bentur et al. 2009: of 21 children 1 and 7 changed sides; Tango's interval -0.517 to -0.026.
    assert paired_lower_bound(1, 7, 21, 0.95) == pytest.approx(-0.517, abs=5e-4)
    assert -paired_lower_bound(7, 1, 21, 0.95) == pytest.approx(-0.026, abs=5e-4)


@pytest.mark.parametrize("total", [1, 10, 200, 100_000])
def test_paired_interval_without_discordant_images_has_a_closed_form(total: int) -> None:
    squared = 3.841458820694124  # 0.95 quantile of chi-squared with one degree of freedom
    assert paired_lower_bound(0, 0, total, 0.95) == pytest.approx(
        -squared / (total + squared), abs=1e-12
    )


@pytest.mark.parametrize("total", [1, 7, 50])
def test_paired_interval_of_nothing_but_losses_ends_at_minus_1(total: int) -> None:
    assert paired_lower_bound(0, total, total, 0.95) == pytest.approx(-1)


@pytest.mark.parametrize("total", [1, 7, 50])
def test_paired_interval_of_nothing_but_gains_is_that_of_wilson_for_a_share(total: int) -> None:
    # All images discordant: the gain is 2 q - 1, where the share q of gains is a plain share.
    expected = 2 * wilson_interval(total, total, 0.95).low - 1
    assert paired_lower_bound(total, 0, total, 0.95) == pytest.approx(expected, abs=1e-12)


@quick
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 300), st.floats(0.5, 0.999))
def test_paired_interval_lies_below_the_estimate_and_rises_with_gains(
    gained: int, lost: int, unchanged: int, confidence: float
) -> None:
    total = gained + lost + unchanged
    low = paired_lower_bound(gained, lost, total, confidence)
    assert -1 <= low <= (gained - lost) / total
    assert low <= paired_lower_bound(gained + 1, lost, total, confidence) + 1e-12
    assert low >= paired_lower_bound(gained, lost + 1, total, confidence) - 1e-12
    assert low >= paired_lower_bound(gained, lost, total, (1 + confidence) / 2)


def test_more_images_with_the_same_rates_prove_more() -> None:
    ends = [paired_lower_bound(6 * k, 5 * k, 100 * k, 0.95) for k in (1, 3, 10, 100)]
    assert ends == sorted(ends)
    assert ends[-1] > 0.003


@quick
@given(st.integers(0, 60), st.integers(0, 60))
def test_swapping_single_images_is_the_exact_test_of_a_fair_coin(gained: int, lost: int) -> None:
    nets = np.array([1] * gained + [-1] * lost + [0] * 5)
    n = gained + lost
    if n:
        two, one = binomtest(gained, n), binomtest(gained, n, alternative="greater")
        assert sign_flip_p_value(nets, two_sided=True) == pytest.approx(
            float(two.pvalue), rel=1e-12
        )
        assert sign_flip_p_value(nets, two_sided=False) == pytest.approx(
            float(one.pvalue), rel=1e-12
        )
    else:
        assert (
            sign_flip_p_value(nets, two_sided=True) == sign_flip_p_value(nets, two_sided=False) == 1
        )


def test_fewer_than_six_discordant_images_never_show_a_difference() -> None:
    assert sign_flip_p_value(np.ones(5, dtype=np.int64), two_sided=True) == 2 / 32
    assert sign_flip_p_value(np.ones(6, dtype=np.int64), two_sided=True) == 2 / 64


@quick
@given(st.lists(st.integers(-3, 3), max_size=9))
def test_swapping_groups_counts_all_flips(nets: list[int]) -> None:
    totals = [
        sum(s * abs(n) for s, n in zip(f, nets, strict=True))
        for f in product([-1, 1], repeat=len(nets))
    ]
    more = sum(t >= sum(nets) for t in totals) / len(totals)
    less = sum(t <= sum(nets) for t in totals) / len(totals)
    column = np.array(nets, dtype=np.int64)
    assert sign_flip_p_value(column, two_sided=False) == pytest.approx(more, rel=1e-12)
    assert sign_flip_p_value(column, two_sided=True) == pytest.approx(min(1, 2 * min(more, less)))


def test_one_group_of_many_images_shows_nothing() -> None:
    assert sign_flip_p_value(np.array([40]), two_sided=True) == 1
    assert cluster_bootstrap_lower_bound(np.array([40]), np.array([40]), 0.95, worst=0) == 0
    assert cluster_bootstrap_lower_bound(np.array([40]), np.array([40]), 0.95, worst=-1) == -1


def test_bootstrap_of_single_images_agrees_with_the_binomial_distribution() -> None:
    # 850 of 1,000: 2.5 % of all binomial draws lie at or below 828, standard error 11.3.
    correct = np.repeat([1, 0], [850, 150])
    low = cluster_bootstrap_lower_bound(np.ones(1000, dtype=np.int64), correct, 0.95, worst=0)
    assert low == pytest.approx(0.828, abs=0.003)


def test_bootstrap_of_copies_is_that_of_the_originals() -> None:
    correct = np.repeat([1, 0], [80, 20])
    once = cluster_bootstrap_lower_bound(np.ones(100, dtype=np.int64), correct, 0.95, worst=0)
    assert cluster_bootstrap_lower_bound(np.full(100, 7), 7 * correct, 0.95, worst=0) == once
    single = cluster_bootstrap_lower_bound(
        np.ones(700, dtype=np.int64), np.repeat(correct, 7), 0.95, worst=0
    )
    assert single > once + 0.03


def test_groups_that_are_all_alike_are_not_certain() -> None:
    # 20 of 20 single images: Wilson says 0.839, and 20 copies of each add nothing.
    low = cluster_bootstrap_lower_bound(np.full(20, 20), np.full(20, 20), 0.95, worst=0)
    assert low == pytest.approx(wilson_interval(20, 20, 0.95).low, abs=0.03)
    nets = cluster_bootstrap_lower_bound(
        np.full(20, 20), np.zeros(20, dtype=np.int64), 0.95, worst=-1
    )
    assert -0.2 < nets < paired_lower_bound(0, 0, 400, 0.95) - 0.05


@pytest.mark.parametrize("worst", [0, -1])
def test_the_true_value_lies_below_the_interval_as_rarely_as_stated(worst: int) -> None:
    # 60 groups of 1 to 10 images that are right (or better) together; 2.5 % of 400 is 10.
    random = np.random.default_rng(5)
    misses = 0
    for _ in range(400):
        sizes = random.integers(1, 11, 60)
        drawn = random.random(60)
        values = (drawn < 0.85) if worst == 0 else (drawn < 0.06) * 1 - (drawn > 0.92)
        truth = 0.85 if worst == 0 else -0.02
        misses += cluster_bootstrap_lower_bound(sizes, sizes * values, 0.95, worst=worst) > truth
    assert misses <= 18


def test_few_groups_are_trusted_less_than_a_plain_percentile_would() -> None:
    # A normal interval of ten groups would use 1.96 standard errors, this one 2.26 and more.
    sums = np.array([4, 5, 5, 5, 6, 6, 6, 7, 7, 9])
    error = float(np.concatenate([sums, [10, 0]]).std() / 10 / math.sqrt(12))
    low = cluster_bootstrap_lower_bound(np.full(10, 10), sums, 0.95, worst=0)
    assert 0.6 - 3.2 * error < low < 0.6 - 2.2 * error


def test_bootstrap_is_the_same_every_time_and_rises_with_less_confidence() -> None:
    sizes = np.arange(1, 41)
    sums = sizes - sizes % 3
    levels = (0.99, 0.95, 0.5)
    ends = [cluster_bootstrap_lower_bound(sizes, sums, level, worst=0) for level in levels]
    assert ends == [cluster_bootstrap_lower_bound(sizes, sums, level, worst=0) for level in levels]
    assert ends[0] < ends[1] < ends[2] < sums.sum() / sizes.sum()


def test_bootstrap_of_100_000_images_is_as_the_normal_distribution_says() -> None:
    sizes = np.random.default_rng(0).integers(1, 12, 17_000)
    sums = np.random.default_rng(1).binomial(sizes, 0.9)
    low = cluster_bootstrap_lower_bound(sizes, sums, 0.95, worst=0)
    assert low == pytest.approx(0.9 - 1.96 * math.sqrt(0.09 / sizes.sum()), abs=0.002)


def test_holm_rejects_step_by_step() -> None:
    # 0.01 <= 0.05 / 4, 0.016 <= 0.05 / 3, then 0.03 > 0.05 / 2 stops all that follow.
    assert holm([0.016, 0.04, 0.01, 0.03], 0.05) == [True, False, True, False]
    assert holm([0.0125, 0.025], 0.025) == [True, True]
    assert holm([math.nextafter(0.0125, 1), 0.001], 0.0125) == [False, True]
    assert holm([0.013, 0.001], 0.0125) == [False, True]
    assert holm([], 0.05) == []


def test_sums_by_group_keep_the_order_of_first_appearance() -> None:
    sizes, sums = sum_by_group(["b", "a", "b", "c"], np.array([1, -1, 1, 0]))
    assert sizes.tolist() == [2, 1, 1]
    assert sums.tolist() == [2, -1, 0]
