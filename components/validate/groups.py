"""Images for people: some of each class, the largest groups of near duplicates, and all pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar

from components.core.data.grouping import ScannedDataset, SplitItem
from components.io.reports.validation import ClassSamples, GroupStrip

T = TypeVar("T")

PAIR_COLUMNS = ("group", "path", "label", "other_path", "other_label", "similarity")

_GROUPS, _IMAGES = 10, 12
_CLASSES, _SAMPLES = 6, 4


def class_samples(data: ScannedDataset) -> list[ClassSamples]:
    """Four images of each of the first six classes, evenly over their sorted paths."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for item in data.items:
        paths[item.file.label].append(item.file.path)
    return [
        ClassSamples(name, len(paths[name]), _evenly(sorted(paths[name]), _SAMPLES))
        for name in data.class_names[:_CLASSES]
    ]


def largest_groups(data: ScannedDataset) -> list[GroupStrip]:
    """The ten largest groups with near duplicates; twelve images of each, over all its classes."""
    groups: defaultdict[str, list[SplitItem]] = defaultdict(list)
    near = data.near_duplicate_groups()
    for item in data.items:
        if item.group in near:
            groups[item.group].append(item)
    largest = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))[:_GROUPS]
    return [_strip(items) for _, items in largest if len(items) > 1]


def _strip(items: list[SplitItem]) -> GroupStrip:
    files = sorted((item.file.label, item.file.path) for item in items)
    shown = _evenly(files, _IMAGES)
    return GroupStrip(
        Counter(label for label, _ in files), [(path, label) for label, path in shown]
    )


def _evenly(values: Sequence[T], limit: int) -> list[T]:
    count = min(len(values), limit)
    return [values[k * len(values) // count] for k in range(count)]


def pair_rows(data: ScannedDataset) -> Iterator[tuple[str, ...]]:
    """PAIR_COLUMNS of every pair, by group and path."""
    for pair in sorted(data.near_duplicates, key=lambda p: (p.group, p.one.path, p.other.path)):
        one, other = pair.one, pair.other
        yield pair.group, one.path, one.label, other.path, other.label, f"{pair.similarity:.3f}"
