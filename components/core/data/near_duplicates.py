"""Which pictures look alike: candidates by a 64-bit hash, then confirmed by a finer sketch."""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from components.core.data.fingerprints import mirrored_bits

# Multi-index hashing cuts a hash into pieces of so many bits.
_SUBSTRING = 16
_SUBSTRINGS = 64 // _SUBSTRING

# A view that is cut like the other picture shows the same, so that their hashes are closer.
_BITS_LESS = 4

# Candidates at a time: what bounds memory, some 100 MB.
_AT_ONCE = 1 << 20
_SKETCHES_AT_ONCE = 1 << 14

_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1])

Words = NDArray[np.uint64]
Positions = NDArray[np.intp]
Pairs = tuple[Positions, Positions]


def find(fingerprints: Words, max_bits: int, min_similarity: float) -> list[tuple[int, int]]:
    """Pairs of look-alikes, enough to connect all of them.

    Two pictures look alike if one of them, whole and in one of four mirrorings, and a view of the
    other have hashes that differ in at most `max_bits` bits, and sketches that correlate by at
    least `min_similarity`. A picture without texture fingerprints like nothing.

    Args:
        fingerprints: (N, views, words) of `fingerprints.fingerprint`.
        max_bits: 0 to 64; up to 11 the search takes far less than N^2 steps.
        min_similarity: correlation of the sketches, up to 1.
    """
    first, joined = _distinct(fingerprints, min_similarity)
    found = _search(fingerprints[first], max_bits, min_similarity)
    return joined + [(int(first[one]), int(first[other])) for one, other in found]


def _distinct(
    fingerprints: Words, min_similarity: float
) -> tuple[Positions, list[tuple[int, int]]]:
    """One picture of each family of look-alikes with equal hashes, and pairs that connect these.

    A camera that stands still makes thousands of such pictures, and all pairs of them are too many.
    Pictures without texture are left out.
    """
    hashes, sketches = fingerprints[:, 0, 0], fingerprints[:, 0, 1:]
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    parent = np.arange(len(fingerprints))
    pairs = _confirmed(sketches, sketches, order[same], order[same + 1], min_similarity)
    joined = _join(parent, pairs)
    return np.flatnonzero((parent == np.arange(len(fingerprints))) & sketches.any(axis=1)), joined


def _search(fingerprints: Words, max_bits: int, min_similarity: float) -> list[tuple[int, int]]:
    parent = np.arange(len(fingerprints))
    joined: list[tuple[int, int]] = []
    for mirror, bits in enumerate(mirrored_bits()):
        whole = np.ascontiguousarray(fingerprints[:, 0, 0]) ^ bits
        sketches = _mirrored(fingerprints[:, 0, 1:], mirror)
        for view in range(fingerprints.shape[1]):
            others = np.ascontiguousarray(fingerprints[:, view, 0])
            for left, right in close(whole, others, max_bits - _BITS_LESS * (view > 0)):
                new = parent[left] != parent[right]
                if view == 0:  # seen from both sides
                    new &= left < right
                pairs = _confirmed(
                    sketches, fingerprints[:, view, 1:], left[new], right[new], min_similarity
                )
                joined += _join(parent, pairs)
    return joined


def close(ones: Words, others: Words, max_bits: int) -> Iterator[Pairs]:
    """Positions (i, j) with at most `max_bits` bits between ones[i] and others[j]; some repeat.

    M. Norouzi, A. Punjani, D. Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR
    2012: of two hashes within 4 a + b bits, b < 4, cut into four pieces, one of the first b + 1
    pieces is within a bits, or one of the others within a - 1; equal pieces are found by sorting.
    """
    within, extra = divmod(max_bits, _SUBSTRINGS)
    for piece in range(_SUBSTRINGS):
        radius = within if piece <= extra else within - 1
        probes, ones_by = _sorted_by(ones, piece)
        keys, others_by = _sorted_by(others, piece)
        one, other = ones[ones_by], others[others_by]
        starts = np.searchsorted(keys, np.arange((1 << _SUBSTRING) + 1)).astype(np.int32)
        masks = _hamming_ball(radius)
        step = max(1, _AT_ONCE // max(len(ones), 1))
        for first in range(0, len(masks), step):
            targets = probes[None, :] ^ masks[first : first + step, None]
            for left, right in _lookup(starts, targets):
                near = np.flatnonzero(np.bitwise_count(one[left] ^ other[right]) <= max_bits)
                yield ones_by[left[near]], others_by[right[near]]


def _sorted_by(hashes: Words, piece: int) -> tuple[NDArray[np.int32], Positions]:
    """The values of a piece, sorted so that neighbors in memory are probed together."""
    cut, ones = np.uint64(piece * _SUBSTRING), np.uint64((1 << _SUBSTRING) - 1)
    values = ((hashes >> cut) & ones).astype(np.int32)
    order = np.argsort(values, kind="stable")
    return values[order], order


def _hamming_ball(radius: int) -> NDArray[np.int32]:
    """All pieces of at most `radius` bits; none if it is negative."""
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
