"""From a grouped and split data set to the manifest and the tables that the rules are about."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, get_args

from components.core.artifacts import MANIFEST_COLUMNS, Split
from components.core.data.decoding import DoubtRule
from components.core.data.files import FileRule, ImageFile, ImageInfo
from components.core.data.grouping import NearDuplicate, ScannedDataset
from components.core.data.layout import level_problems
from components.core.data.names import difference, folded, invisible
from components.validate.rules import Table

if TYPE_CHECKING:
    import pandas as pd

# Rules about single files that the scan or the decoder has checked.
_FILE_RULES: tuple[FileRule, ...] = (
    "non_regular_files",
    "invalid_names",
    "unlabeled_files",
    "max_unreadable",
)


def to_manifest(data: ScannedDataset, *, with_splits: bool) -> pd.DataFrame:
    """The manifest: one row per file, by path."""
    import pandas as pd

    # By column: rows of Python objects would take several times the memory of the frame.
    of_image = {field.name for field in fields(ImageInfo)}

    def column(name: str) -> pd.Series:
        if name in ("group", "split"):
            items = iter(data.items)  # those of the files that are used, in the same order
            values = (next(items) if f.status == "used" else None for f in data.files)
            found = [getattr(item, name) if item else "" for item in values]
        else:
            found = [getattr(f.info if name in of_image else f, name) for f in data.files]
        return pd.Series(found)

    manifest = pd.DataFrame({name: column(name) for name in MANIFEST_COLUMNS}, copy=False)
    return manifest if with_splits else manifest.assign(split="")


def to_tables(data: ScannedDataset) -> dict[Table, pd.DataFrame]:
    """What the rules evaluate; `name` is the path or the class."""
    return {
        "files": _files(data),
        "used": _used(data),
        "sides": _sides(data),
        "classes": _classes(data),
    }


def _files(data: ScannedDataset) -> pd.DataFrame:
    """Files that are not ignored; a column named like a rule holds what is wrong by that rule."""
    import pandas as pd

    rows = [file for file in data.files if file.status != "ignored"]
    reasons: dict[str, Mapping[str, str]] = {
        **{rule: {f.path: f.reason for f in rows if f.rule == rule} for rule in _FILE_RULES},
        **{rule: _doubts(rows, rule) for rule in get_args(DoubtRule)},
        "label_conflicts": _label_conflicts(data),
        "near_duplicate_label_conflicts": _near_duplicate_label_conflicts(data.near_duplicates),
        "split_leakage": data.split_leakage,
        "pinned_split_conflicts": data.pinned_split_conflicts,
    }
    reasons["invalid_names"] = {**_misread_names(rows), **reasons["invalid_names"]}
    names = [file.path for file in rows]
    table = {"name": names, "format": [file.info.format for file in rows]}
    table |= {rule: [wrong.get(path, "") for path in names] for rule, wrong in reasons.items()}
    return pd.DataFrame(table, dtype=object)


def _doubts(files: Sequence[ImageFile], rule: DoubtRule) -> dict[str, str]:
    return {f.path: why for f in files for name, why in f.info.doubts if name == rule}


def _label_conflicts(data: ScannedDataset) -> dict[str, str]:
    """The paths whose pixels have another label elsewhere."""
    first: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for item in data.items:
        first[item.file.info.pixel_sha256].setdefault(item.file.label, item.file.path)
    conflicts = {}
    for item in data.items:
        if len(labels := first[item.file.info.pixel_sha256]) > 1:
            other = next(path for label, path in labels.items() if label != item.file.label)
            conflicts[item.file.path] = f"same pixels as {other}"
    return conflicts


def _near_duplicate_label_conflicts(pairs: Sequence[NearDuplicate]) -> dict[str, str]:
    """By path of both: which near duplicate has another label."""
    conflicts: dict[str, str] = {}
    for pair in pairs:
        if pair.one.label != pair.other.label:
            conflicts.setdefault(pair.one.path, f"near duplicate of {pair.other.path}")
            conflicts.setdefault(pair.other.path, f"near duplicate of {pair.one.path}")
    return conflicts


def _misread_names(files: Sequence[ImageFile]) -> dict[str, str]:
    """Paths that people or other systems take for another one, or whose class is misread so."""
    labels = {file.label for file in files}
    unseen = {label: character for label in labels if (character := invisible(label))}
    classes = _twins(labels)
    twins = _twins(part for file in files for part in _upwards(file.path))
    reasons = {}
    for file in files:
        if file.label in classes:
            other = _quoted(file.label, classes[file.label])
            reasons[file.path] = f"its class differs from {other}"
        elif file.label in unseen:
            character = unseen[file.label]
            reasons[file.path] = f"an invisible character {character} in the name of its class"
        elif part := next((part for part in _upwards(file.path) if part in twins), ""):
            reasons[file.path] = f"differs from {_quoted(part, twins[part])}"
    return reasons


def _twins(names: Iterable[str]) -> dict[str, str]:
    """Names that are equal but for case, composition, or what cannot be seen: name -> another."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        spellings[folded(name)].add(name)
    return {
        name: min(spelled - {name})
        for spelled in spellings.values()
        if len(spelled) > 1
        for name in spelled
    }


def _quoted(name: str, other: str) -> str:
    return f"{other} only by {difference(name, other)}"


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _used(data: ScannedDataset) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"name": [item.file.path for item in data.items]})


def _sides(data: ScannedDataset) -> pd.DataFrame:
    """Images that are used, and those that were refused for their sides."""
    import pandas as pd

    files = [file for file in data.files if file.status != "ignored" and file.info.width]
    sides = [sorted((file.info.width, file.info.height)) for file in files]
    return pd.DataFrame(
        {
            "name": [file.path for file in files],
            "shorter": [shorter for shorter, _ in sides],
            "longer": [longer for _, longer in sides],
            "aspect": [longer / max(shorter, 1) for shorter, longer in sides],
        }
    )


def _classes(data: ScannedDataset) -> pd.DataFrame:
    import pandas as pd

    counts = data.counts()
    totals = {name: sum(count.values()) for name, count in counts.items()}
    largest = _largest_groups(data)
    levels = level_problems(_folders(data), data.class_names)
    return pd.DataFrame(
        {
            "name": list(counts),
            "images": list(totals.values()),
            "imbalance": [max(totals.values()) / n if n else math.inf for n in totals.values()],
            "group_share": [largest[name][0] / max(totals[name], 1) for name in counts],
            "class_missing_from_split": [
                _missing_splits(count, largest[name], data) for name, count in counts.items()
            ],
            "class_level": [levels.get(name, "") for name in counts],
            "class_names": [
                "" if name == name.strip() else "starts or ends with a space" for name in counts
            ],
        }
    )


def _folders(data: ScannedDataset) -> Counter[tuple[str, ...]]:
    """Images directly in each folder, by its path below the split."""
    skipped = bool(data.split_folders)
    return Counter(tuple(item.file.path.split("/")[skipped:-1]) for item in data.items)


def _largest_groups(data: ScannedDataset) -> defaultdict[str, tuple[int, str]]:
    """Of each class: size of its largest group, and its name; a single image is no group."""
    sizes = Counter(item.group for item in data.items)
    shared = Counter((item.file.label, item.group) for item in data.items if sizes[item.group] > 1)
    largest: defaultdict[str, tuple[int, str]] = defaultdict(lambda: (0, ""))
    for (label, group), size in shared.items():
        largest[label] = max(largest[label], (size, group))
    return largest


def _missing_splits(
    count: Mapping[Split, int], largest: tuple[int, str], data: ScannedDataset
) -> str:
    """Why a class is not in every split; empty if it is."""
    if all(count.values()):
        return ""
    found = f"is in {sum(1 for images in count.values() if images)} of {len(count)} splits"
    if data.split_folders or largest[1] not in data.near_duplicate_groups():
        return found
    size = sum(item.group == largest[1] for item in data.items)
    return (
        f"a group of {size:,} near duplicates holds most of it; if they are different images, "
        "raise validate.near_duplicates.min_similarity, lower its max_hamming_distance, or set "
        "near_duplicates to null"
    )
