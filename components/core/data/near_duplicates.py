"""Which images are near duplicates: candidates by a 64-bit hash, confirmed by finer views."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from components.core.data.fingerprints import CUTS, FINGERPRINT, KEY, Fingerprints
from components.core.data.hamming import Positions, Words, hamming_neighbors
from components.core.data.similarity import (
    encoding_similarity,
    layouts_agree,
    mirrored_sketches,
    sketch_similarity,
)

# A view cropped like the other image shows the same, so their hashes are closer.
_BITS_LESS = 4

# Rows and pairs at a time: what bounds memory, some 10 MB each.
_ROWS_AT_ONCE = 1 << 12
_KEYS_AT_ONCE = 1 << 14
_PAIRS_AT_ONCE = 1 << 10

# Rows of FINGERPRINT by position, wherever they are kept.
Reader = Callable[[Positions], Fingerprints]


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
        gt=0,
        le=1,
        description="Least correlation of the sketches, the finest texture, of two near "
        "duplicates. The difference that re-encoding may make to images without texture, drawings "
        "for instance, shrinks with 1 - min_similarity.",
    )


class NearDuplicates(NamedTuple):
    """Two images that are near duplicates.

    Attributes:
        one: position of an image.
        other: position of another one.
        similarity: correlation of their sketches or, if larger, of gray views that differ by no
            more than encoding; at most 1.
    """

    one: int
    other: int
    similarity: float


class _Comparison(NamedTuple):
    """How the first images of pairs are mirrored, and which view of the second ones is meant."""

    mirror: int
    view: int


_WHOLE = _Comparison(0, 0)


def find(read: Reader, count: int, params: NearDuplicateParams) -> list[NearDuplicates]:
    """Pairs of near duplicates, enough to connect all of them.

    Two images are near duplicates if one of them, whole and in one of four mirrorings, and a view
    of the other have hashes that differ in at most `max_hamming_distance` bits, like spreads of
    brightness and color, and either sketches that correlate by at least `min_similarity` or no
    more difference than encoding makes. An image without structure is like no other. Up to a
    distance of 11 the search takes far less than N^2 steps.

    Args:
        read: fingerprints of images by their positions; only 154 bytes of each are kept.
        count: how many images there are.
        params: when two images count as near duplicates.
    """
    return _Search(read, count, params).run()


class _Search:
    """Components of images, and what joined them."""

    def __init__(self, read: Reader, count: int, params: NearDuplicateParams) -> None:
        self._read, self._params = read, params
        self._keys = np.empty(count, [(name, FINGERPRINT[name]) for name in KEY])
        for rows in _parts(np.arange(count), _ROWS_AT_ONCE):
            found = read(rows)
            for name in KEY:
                self._keys[name][rows] = found[name]
        self._parent = np.arange(count)
        self._found: list[NearDuplicates] = []

    def run(self) -> list[NearDuplicates]:
        self._join_equal_hashes()
        # One image of each component so far; flat ones have nothing to compare.
        alone = self._parent == np.arange(len(self._parent))
        left = np.flatnonzero(alone & self._keys["luma"].any(axis=(1, 2)))
        for mirror in range(4):
            whole = self._keys["hashes"][left, mirror]
            for view in range(len(CUTS)):
                inside = self._keys["inside"][left, view - 1]
                others = inside if view else self._keys["hashes"][left, 0]
                distance = self._params.max_hamming_distance - _BITS_LESS * (view > 0)
                self._compare(left, (whole, others), distance, _Comparison(mirror, view))
        return self._found

    def _join_equal_hashes(self) -> None:
        """A camera that stands still makes thousands of such images: too many pairs to try all."""
        hashes = self._keys["hashes"][:, 0]
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
        self._confirm(order[same], order[same + 1], _WHOLE)

    def _compare(
        self, images: Positions, hashes: tuple[Words, Words], distance: int, how: _Comparison
    ) -> None:
        for left, right in hamming_neighbors(*hashes, distance):
            ordered = left < right if how == _WHOLE else left != right  # else seen from both sides
            self._confirm(images[left[ordered]], images[right[ordered]], how)

    def _confirm(self, left: Positions, right: Positions, how: _Comparison) -> None:
        """Join the pairs that are near duplicates."""
        for pairs in _parts(np.arange(len(left)), _KEYS_AT_ONCE):
            i, j = left[pairs], right[pairs]
            apart = self._parent[i] != self._parent[j]
            i, j = i[apart], j[apart]
            alike = layouts_agree(self._keys[i], self._keys[j], *how)
            for part in _parts(np.flatnonzero(alike), _PAIRS_AT_ONCE):
                still = part[self._parent[i[part]] != self._parent[j[part]]]
                self._join(i[still], j[still], how)

    def _join(self, i: Positions, j: Positions, how: _Comparison) -> None:
        rows, places = np.unique(np.concatenate([i, j]), return_inverse=True)
        fingerprints = self._read(rows)
        ones, others = fingerprints[places[: len(i)]], fingerprints[places[len(i) :]]
        similarity = _similarity(ones, others, how, self._params.min_similarity)
        for k in np.flatnonzero(similarity):
            one, other = int(i[k]), int(j[k])
            roots = _root(self._parent, one), _root(self._parent, other)
            if roots[0] != roots[1]:
                self._parent[max(roots)] = min(roots)
                self._found.append(NearDuplicates(one, other, min(float(similarity[k]), 1.0)))
        while (self._parent[self._parent] != self._parent).any():
            self._parent[:] = self._parent[self._parent]


def _similarity(
    ones: Fingerprints, others: Fingerprints, how: _Comparison, least: float
) -> NDArray[np.float64]:
    """Of each pair that are near duplicates; 0 of the others."""
    sketches = mirrored_sketches(ones["sketches"][:, 0], how.mirror)
    similarity = sketch_similarity(sketches, others["sketches"][:, how.view])
    similarity = np.where(similarity >= least, similarity, 0)
    rest = np.flatnonzero(similarity == 0)
    similarity[rest] = encoding_similarity(ones[rest], others[rest], *how, 1 - least)
    return similarity


def _parts(values: Positions, size: int) -> Iterator[Positions]:
    for first in range(0, len(values), size):
        yield values[first : first + size]


def _root(parent: Positions, node: int) -> int:
    while parent[node] != node:
        node = int(parent[node])
    return node
