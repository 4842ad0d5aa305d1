"""What chance can do: intervals and tests for shares of correctly classified images.

Images of one group (the same object, near duplicates) are not independent evidence, so groups are
drawn and flipped whole. Everything is deterministic. A confidence is two-sided: at 0.95 the true
value lies below an interval in at most about 2.5 % of all samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_DRAWS = 2000
_BISECTIONS = 60  # of an interval no longer than 2: exact to the last bit or so


class Interval(NamedTuple):
    """Where a share lies: 0 <= low <= high <= 1."""

    low: float
    high: float


def wilson_interval(correct: int, total: int, confidence: float) -> Interval:
    """Confidence interval of a share, from independent images.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Args:
        correct: number of successes, 0 <= correct <= total.
        total: number of trials, at least 1.
        confidence: two-sided, 0 <= confidence < 1.

    Raises:
        ValueError: the counts are not a share.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} of {total} is not a share")
    z = _quantile(confidence)
    center = correct + z * z / 2
    half = z * math.sqrt(correct * (total - correct) / total + z * z / 4)
    scale = total + z * z
    return Interval(max(0.0, (center - half) / scale), min(1.0, (center + half) / scale))


def paired_lower_bound(gained: int, lost: int, total: int, confidence: float) -> float:
    """Lower end of the interval of a difference of two accuracies on the same independent images.

    The score interval: it needs no discordant image to know that few images prove little. Without
    any, it is -z^2 / (total + z^2), where resampling would claim 0.
    Source: Tango 1998, "Equivalence test and confidence interval for the difference in proportions
    for the paired-sample design", equations 2 and 6.

    Args:
        gained: images that only the new model classifies correctly.
        lost: images that only the old model classifies correctly.
        total: all images, at least gained + lost and at least 1.
        confidence: two-sided, 0 <= confidence < 1.
    """
    z = _quantile(confidence)
    low, high = -1.0, (gained - lost) / total
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _score(gained, lost, total, middle) > z:
            low = middle
        else:
            high = middle
    return low


def _score(gained: int, lost: int, total: int, difference: float) -> float:
    """How many standard errors the counts lie above this true difference (-1 < difference <= 1)."""
    linear = (2 * total - gained + lost) * difference - gained - lost
    constant = -lost * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear - 8 * total * constant))
    loss_rate = (root - linear) / (4 * total)
    variance = total * (2 * loss_rate + difference * (1 - difference))
    excess = gained - lost - total * difference
    return excess / math.sqrt(variance) if variance > 0 else math.inf * (excess > 0)


def sign_flip_p_value(nets: Ints, *, two_sided: bool) -> float:
    """How often chance alone gives such a gain: the exact test of two equally good models.

    If the models are equal, their predictions for a group could as well be swapped, which flips the
    sign of its net gain. The p-value is the share of all 2^G flips whose total gain is at least as
    large; two-sided: twice the smaller tail. When every group is one image this is McNemar's exact
    test, a fair coin for each discordant image.
    Sources: Fisher 1935, "The design of experiments", section 21; McNemar 1947, "Note on the
    sampling error of the difference between correlated proportions or percentages".

    Args:
        nets: int (G,), images gained minus images lost in each group.
        two_sided: False asks for gains only.
    """
    # Of groups with |net| = s, j heads add s * j: the total is the sum of independent binomials.
    chances, gained = np.ones(1), 0
    for size, count in zip(*np.unique(np.abs(nets[nets != 0]), return_counts=True), strict=True):
        spaced = np.zeros(int(size) * int(count) + 1)
        spaced[:: int(size)] = _fair_coin(int(count))
        chances = np.convolve(chances, spaced)
        gained += int(size) * int((nets == size).sum())
    more = min(1.0, math.fsum(chances[gained:]))
    if not two_sided:
        return more
    return min(1.0, 2 * min(more, math.fsum(chances[: gained + 1])))


def _fair_coin(flips: int) -> list[float]:
    """Chance of 0, 1, ..., `flips` heads, each rounded once."""
    ways, all_ways, chances = 1, 1 << flips, []
    for heads in range(flips + 1):
        chances.append(ways / all_ways)
        ways = ways * (flips - heads) // (heads + 1)
    return chances


def cluster_bootstrap_lower_bound(
    sizes: Ints, sums: Ints, confidence: float, *, worst: int
) -> float:
    """Lower end of the interval of a mean over images, when whole groups are drawn.

    The expanded percentile interval, because few groups drawn again vary less than they should.
    Two invented groups of typical size, one of the best and one of the worst value, are drawn from
    too: where all groups are alike, plain resampling would be certain of what it has seen.
    Sources: Field and Welsh 2007, "Bootstrapping clustered data", section 2.2 (drawing whole
    clusters); Hesterberg 2015, "What teachers should know about the bootstrap", section 4.3
    (expanded percentiles); Agresti and Coull 1998, "Approximate is better than exact" (invented
    observations of both kinds).

    Args:
        sizes: int (G,), images of each group, at least 1.
        sums: int (G,), sum over a group's images of a value in worst..1.
        confidence: two-sided, 0 <= confidence < 1.
        worst: the least value that an image can have, 0 or -1.
    """
    from scipy.special import stdtrit

    typical = -(-int((sizes**2).sum()) // int(sizes.sum()))  # of the group of a random image
    sizes = np.concatenate([sizes, [typical, typical]])
    sums = np.concatenate([sums, [typical, worst * typical]])
    groups = len(sizes)
    # Equal groups are interchangeable: drawing how often each kind comes is much cheaper.
    kinds, counts = np.unique(np.stack([sizes, sums]), axis=1, return_counts=True)
    # The stream of RandomState is frozen for good, so that decisions can be recomputed later.
    random = np.random.RandomState(0)
    drawn_sizes, drawn_sums = kinds @ random.multinomial(groups, counts / groups, _DRAWS).T
    means = np.sort(drawn_sums / drawn_sizes)
    quantile = float(stdtrit(groups - 1, (1 + confidence) / 2))
    tail = NormalDist().cdf(-quantile * math.sqrt(groups / (groups - 1)))
    return float(means[max(0, math.floor(tail * (_DRAWS + 1)) - 1)])


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which of many null hypotheses fall, so that any true one falls with a chance <= `level`.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    fallen = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    for rank, k in enumerate(order):
        if p_values[k] * (len(order) - rank) > level:
            break
        fallen[k] = True
    return fallen


def sum_by_group(groups: Sequence[str], values: Ints) -> tuple[Ints, Ints]:
    """Size and sum of `values` (N,) of each group, in the order in which groups appear."""
    places: dict[str, int] = {}
    rows = np.array([places.setdefault(group, len(places)) for group in groups], dtype=np.int64)
    sizes = np.bincount(rows, minlength=len(places))
    sums = np.zeros(len(places), dtype=np.int64)
    np.add.at(sums, rows, values)
    return sizes, sums


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
