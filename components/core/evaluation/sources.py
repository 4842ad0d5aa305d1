"""Where images come from, as far as their paths and groups tell: a class may be known by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

_MOST = 20  # more values than that are images or individuals, not sources

Pairs = list[tuple[str, str]]


def sources(paths: Sequence[str], labels: Sequence[str], groups: Sequence[str]) -> dict[str, Pairs]:
    """Attributes that name a source: (value, class) of each image.

    A source has 2 to 20 values, and those that several classes share hold at least half of the
    images. What occurs in one class alone is a part of that class, as a breed is of the dogs, or an
    individual: nothing tells it from a camera.

    Args:
        paths: of the used images, relative to the image folder.
        labels: class of each.
        groups: group of each; with those of data/groups.csv and validate.group_pattern.
    """
    subfolders = [_subfolder(path, label) for path, label in zip(paths, labels, strict=True)]
    found = {"source (subfolder)": subfolders, "source (group)": groups}
    pairs = {name: list(zip(values, labels, strict=True)) for name, values in found.items()}
    return {name: each for name, each in pairs.items() if _is_source(each)}


def _subfolder(path: str, label: str) -> str:
    """The folder right inside the class folder; empty for a file that lies in none."""
    folders = PurePosixPath(path).parts[:-1]
    inside = folders[folders.index(label) + 1 :] if label in folders else ()
    return inside[0] if inside else ""


def _is_source(pairs: Pairs) -> bool:
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for value, label in pairs:
        classes[value].add(label)
    shared = sum(len(classes[value]) > 1 for value, _ in pairs)
    return 2 <= len(classes) <= _MOST and 2 * shared >= len(pairs)
