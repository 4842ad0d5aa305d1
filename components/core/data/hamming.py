"""Pairs of 64-bit hashes that differ in few bits, in far less than N^2 steps."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

# Multi-index hashing cuts a hash into substrings of so many bits.
_SUBSTRING = 16
_SUBSTRINGS = 64 // _SUBSTRING

# Candidates at a time: what bounds memory, some 20 MB.
_AT_ONCE = 1 << 18

Words = NDArray[np.uint64]
Positions = NDArray[np.intp]
Pairs = tuple[Positions, Positions]


def hamming_neighbors(ones: Words, others: Words, max_distance: int) -> Iterator[Pairs]:
    """Positions (i, j) of ones[i] and others[j] within a Hamming distance; some pairs repeat.

    M. Norouzi, A. Punjani, D. Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR
    2012: of two hashes within 4 a + b bits, b < 4, cut into four substrings, one of the first b + 1
    substrings is within a bits, or one of the others within a - 1; equal ones are found by sorting.

    Args:
        ones: hashes.
        others: hashes to compare them with.
        max_distance: bits in which two hashes may differ; nothing is found if it is negative.
    """
    within, extra = divmod(max_distance, _SUBSTRINGS)
    for substring in range(_SUBSTRINGS):
        radius = within if substring <= extra else within - 1
        probes, ones_by = _sorted_by(ones, substring)
        keys, others_by = _sorted_by(others, substring)
        one, other = ones[ones_by], others[others_by]
        starts = np.searchsorted(keys, np.arange((1 << _SUBSTRING) + 1)).astype(np.int32)
        masks = _hamming_ball(radius)
        step = max(1, _AT_ONCE // max(len(ones), 1))
        for first in range(0, len(masks), step):
            targets = probes[None, :] ^ masks[first : first + step, None]
            for left, right in _lookup(starts, targets):
                near = np.flatnonzero(np.bitwise_count(one[left] ^ other[right]) <= max_distance)
                yield ones_by[left[near]], others_by[right[near]]


def _sorted_by(hashes: Words, substring: int) -> tuple[NDArray[np.int32], Positions]:
    """The values of a substring, sorted so that neighbors in memory are probed together."""
    cut, ones = np.uint64(substring * _SUBSTRING), np.uint64((1 << _SUBSTRING) - 1)
    values = ((hashes >> cut) & ones).astype(np.int32)
    order = np.argsort(values, kind="stable")
    return values[order], order


def _hamming_ball(radius: int) -> NDArray[np.int32]:
    """All substrings of at most `radius` set bits; none if it is negative."""
    chosen = (c for size in range(radius + 1) for c in combinations(range(_SUBSTRING), size))
    return np.array([sum(1 << bit for bit in bits) for bits in chosen], dtype=np.int32)


def _lookup(starts: NDArray[np.int32], targets: NDArray[np.int32]) -> Iterator[Pairs]:
    """Column of `targets` and place in the sorted keys, for every key that equals a target."""
    begins = starts[targets].ravel()
    counts = starts[1:][targets].ravel() - begins
    found = np.flatnonzero(counts)
    begins, counts = begins[found], counts[found]
    columns, ends = found % targets.shape[1], np.cumsum(counts)
    first = 0
    while first < len(ends):
        done = int(ends[first] - counts[first])
        last = max(first + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        part = slice(first, last)
        times = counts[part]
        places = np.arange(done, ends[last - 1]) + np.repeat(
            begins[part] - ends[part] + times, times
        )
        yield np.repeat(columns[part], times), places
        first = last
