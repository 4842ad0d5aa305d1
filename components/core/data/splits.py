"""Which files stay together, and which split they go to: by content, never by name or order."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from unicodedata import normalize

from components.core.artifacts import SPLITS, Split

NOTHING_PINNED: Mapping[str, Split] = MappingProxyType({})


def captured(paths: Iterable[str], pattern: str | None) -> Iterator[str | None]:
    """What `pattern` captures in each path, e.g. a patient or a film; None where nothing matches.

    Without a capturing group the whole match counts; several groups count together. How accents
    are composed does not count.
    """
    composed = re.compile(normalize("NFC", pattern)) if pattern else None
    for path in paths:
        match = composed.search(normalize("NFC", path)) if composed else None
        yield "\0".join(match.groups("") or [match[0]]) if match else None


def equal(keys: Iterable[Hashable | None]) -> Iterator[tuple[int, int]]:
    """Pairs of positions with equal keys, enough to connect all of them. None equals nothing."""
    first: dict[Hashable, int] = {}
    for position, key in enumerate(keys):
        if key is not None and (earlier := first.setdefault(key, position)) != position:
            yield earlier, position


def group(pixels: Sequence[str], pairs: Iterable[tuple[int, int]] = ()) -> list[str]:
    """Join files with equal pixels, and the files of each pair, into groups (union-find).

    Args:
        pixels: pixel_sha256 of each file.
        pairs: positions that belong together for other reasons: a captured text, near duplicates.

    Returns:
        The group of each file: the smallest pixel_sha256 in it.
    """
    parent = list(range(len(pixels)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in chain(equal(pixels), pairs):
        smaller, larger = sorted((root(one), root(other)), key=lambda node: pixels[node])
        parent[larger] = smaller
    return [pixels[root(position)] for position in range(len(pixels))]


def assign(
    labels: Sequence[str],
    groups: Sequence[str],
    shares: Mapping[Split, float],
    seed: int,
    pinned: Mapping[str, Split] = NOTHING_PINNED,
) -> list[Split]:
    """Give each file a split, so that groups stay whole and every class keeps the shares.

    Pinned groups stay where they are; the others fill up what these leave of the shares.

    The groups of a class are taken in the order of SHA-256(seed, group), each to the split that is
    emptiest for its share (Sainte-Lague: smallest (files there + half the group) / share). A class
    misses a share by less than its largest group, if every share has room for that group; with
    three groups or more it is in every split. A group with several classes is placed with its
    rarest class, and rare classes choose first, so that the commoner ones make up for it.

    Args:
        labels: class of each file.
        groups: group of each file, from `group`.
        shares: of train, val and test; each above 0.
        seed: another seed gives another split.
        pinned: split of groups that never move.
    """
    frequency = Counter(labels)
    members: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for label, name in zip(labels, groups, strict=True):
        members[name][label] += 1

    def rarity(label: str) -> tuple[int, str]:
        return frequency[label], label

    homes: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(members, key=lambda name: _shuffled(name, seed)):
        homes[min(members[name], key=rarity)].append(name)
    placed = {name: pinned[name] for name in members if name in pinned}
    filled = {split: Counter[str]() for split in SPLITS}
    for name, split in placed.items():
        filled[split].update(members[name])
    for label in sorted(homes, key=rarity):
        for name in homes[label]:
            if name not in pinned:
                size = members[name][label]
                split = min(SPLITS, key=lambda s: (filled[s][label] + size / 2) / shares[s])
                filled[split].update(members[name])
                placed[name] = split
        sizes = {name: members[name][label] for name in homes[label]}
        _leave_none_empty(sizes, placed, pinned)
    return [placed[name] for name in groups]


def _shuffled(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def _leave_none_empty(
    sizes: Mapping[str, int], placed: dict[str, Split], pinned: Mapping[str, Split]
) -> None:
    """Move the smallest group that can be spared into each split without a group of this class.

    Args:
        sizes: files of the class in each of its groups, in order of placement.
        placed: split of each group; changed in place. With fewer than three groups nothing moves.
        pinned: groups that never move.
    """
    for split in SPLITS if len(sizes) >= len(SPLITS) else ():
        count = Counter(placed[name] for name in sizes)
        spare = [name for name in sizes if count[placed[name]] > 1 and name not in pinned]
        if spare and not count[split]:
            placed[min(spare, key=lambda name: sizes[name])] = split
