"""Which images are near duplicates: candidates by a 64-bit hash, confirmed by a finer sketch."""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from components.core.data.fingerprints import mirrored_bits

# Multi-index hashing cuts a hash into substrings of so many bits.
_SUBSTRING = 16
_SUBSTRINGS = 64 // _SUBSTRING

# A view cropped like the other image shows the same, so their hashes are closer.
_BITS_LESS = 4

# Candidates at a time: what bounds memory, some 100 MB.
_AT_ONCE = 1 << 20
_SKETCHES_AT_ONCE = 1 << 14

_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1])

Words = NDArray[np.uint64]
Positions = NDArray[np.intp]
Pairs = tuple[Positions, Positions]


class NearDuplicateParams(BaseModel):
    """When two images count as near duplicates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_hamming_distance: int = Field(
        ge=4,
        le=16,
        description="Most of the 64 bits in which the perceptual hashes of two near duplicates "
        "differ.",
    )
    min_similarity: float = Field(
        gt=0, le=1, description="Least correlation of the sketches of two near duplicates."
    )


def find(fingerprints: Words, params: NearDuplicateParams) -> list[tuple[int, int]]:
    """Pairs of near duplicates, enough to connect all of them.

    Two images are near duplicates if one of them, whole and in one of four mirrorings, and a view
    of the other have hashes that differ in at most `max_hamming_distance` bits, and sketches that
    correlate by at least `min_similarity`. An image without texture is like no other. Up to a
    distance of 11 the search takes far less than N^2 steps.

    Args:
        fingerprints: (N, views, words) of `fingerprints.fingerprint`.
        params: when two images count as near duplicates.
    """
    first, joined = _distinct(fingerprints, params.min_similarity)
    found = _search(fingerprints[first], params)
    return joined + [(int(first[one]), int(first[other])) for one, other in found]


def _distinct(
    fingerprints: Words, min_similarity: float
) -> tuple[Positions, list[tuple[int, int]]]:
    """One image of each set of near duplicates with equal hashes, and pairs that connect these.

    A camera that stands still makes thousands of such images, and all pairs of them are too many.
    Images without texture are left out.
    """
    hashes, sketches = fingerprints[:, 0, 0], fingerprints[:, 0, 1:]
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    parent = np.arange(len(fingerprints))
    pairs = _confirmed(sketches, sketches, order[same], order[same + 1], min_similarity)
    joined = _join(parent, pairs)
    return np.flatnonzero((parent == np.arange(len(fingerprints))) & sketches.any(axis=1)), joined


def _search(fingerprints: Words, params: NearDuplicateParams) -> list[tuple[int, int]]:
    parent = np.arange(len(fingerprints))
    joined: list[tuple[int, int]] = []
    for mirror, bits in enumerate(mirrored_bits()):
        whole = np.ascontiguousarray(fingerprints[:, 0, 0]) ^ bits
        sketches = _mirrored(fingerprints[:, 0, 1:], mirror)
        for view in range(fingerprints.shape[1]):
            others = np.ascontiguousarray(fingerprints[:, view, 0])
            distance = params.max_hamming_distance - _BITS_LESS * (view > 0)
            for left, right in hamming_neighbors(whole, others, distance):
                new = parent[left] != parent[right]
                if view == 0:  # seen from both sides
                    new &= left < right
                pairs = _confirmed(
                    sketches,
                    fingerprints[:, view, 1:],
                    left[new],
                    right[new],
                    params.min_similarity,
                )
                joined += _join(parent, pairs)
    return joined


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


def _confirmed(
    ones: Words, others: Words, left: Positions, right: Positions, least: float
) -> Iterator[tuple[int, int]]:
    """The pairs whose sketches correlate by at least `least`."""
    for first in range(0, len(left), _SKETCHES_AT_ONCE):
        i, j = left[first : first + _SKETCHES_AT_ONCE], right[first : first + _SKETCHES_AT_ONCE]
        alike = similarity(ones[i], others[j]) >= least
        yield from zip(i[alike].tolist(), j[alike].tolist(), strict=True)


def similarity(ones: Words, others: Words) -> NDArray[np.float64]:
    """Correlation of the bits of each pair of rows, -1 to 1; 0 where all bits of one are equal."""
    size = 64 * ones.shape[1]
    one, other, both = (_count(words) for words in (ones, others, ones & others))
    spread = np.sqrt(np.maximum(one * (size - one) * other * (size - other), 1))
    correlation: NDArray[np.float64] = (size * both - one * other) / spread
    return correlation


def _count(words: Words) -> NDArray[np.float64]:
    counts: NDArray[np.float64] = np.bitwise_count(words).sum(axis=1, dtype=np.float64)
    return counts


def _mirrored(sketches: Words, mirror: int) -> Words:
    """Sketches flipped left-right (bit 0 of `mirror`) and top-bottom (bit 1)."""
    rows = sketches[:, ::-1] if mirror & 2 else sketches
    rows = np.ascontiguousarray(rows, dtype="<u8")
    if mirror & 1:
        octets = _REVERSED[rows[..., None].view(np.uint8)]
        rows = np.ascontiguousarray(octets[..., ::-1]).view("<u8")[..., 0]
    return rows


def _join(parent: Positions, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Note the pairs in `parent`, flat afterwards, and return those that joined two components."""
    joining = []
    for one, other in pairs:
        roots = _root(parent, one), _root(parent, other)
        if roots[0] != roots[1]:
            parent[max(roots)] = min(roots)
            joining.append((one, other))
    while (parent[parent] != parent).any():
        parent[:] = parent[parent]
    return joining


def _root(parent: Positions, node: int) -> int:
    while parent[node] != node:
        node = int(parent[node])
    return node
