"""From a grouped and split data set to the manifest and the tables that the rules are about."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from components.core.artifacts import MANIFEST_COLUMNS
from components.core.data.grouping import NearDuplicate, ScannedDataset
from components.validate.rules import Table

if TYPE_CHECKING:
    import pandas as pd

_LIKE_A_SPLIT = {"train", "training", "val", "valid", "validation", "test", "testing"}


def to_manifest(data: ScannedDataset, *, with_splits: bool) -> pd.DataFrame:
    """The manifest: one row per file, by path."""
    import pandas as pd

    items_by_path = {item.file.path: item for item in data.items}
    rows = []
    for file in data.files:
        row = {**vars(file), **vars(file.info), "group": "", "split": ""}
        if item := items_by_path.get(file.path):
            row |= {"group": item.group, "split": item.split if with_splits else ""}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))


def to_tables(data: ScannedDataset) -> dict[Table, pd.DataFrame]:
    """What the rules evaluate; `name` is the path or the class."""
    return {"files": _files(data), "used": _used(data), "classes": _classes(data)}


def _files(data: ScannedDataset) -> pd.DataFrame:
    """Files that are not ignored; a column named like a rule holds what is wrong by that rule."""
    import pandas as pd

    rows = [file for file in data.files if file.status != "ignored"]
    by_label = [
        (item.file.path, item.file.info.pixel_sha256, item.file.label) for item in data.items
    ]
    conflicts = _label_conflicts(by_label)
    near = _near_duplicate_label_conflicts(data.near_duplicates)
    collisions = _case_collisions([file.path for file in rows])
    table = {
        "name": [file.path for file in rows],
        "format": [file.info.format for file in rows],
        "label_conflicts": [conflicts.get(file.path, "") for file in rows],
        "near_duplicate_label_conflicts": [near.get(file.path, "") for file in rows],
        "split_leakage": [data.split_leakage.get(file.path, "") for file in rows],
        "pinned_split_conflicts": [data.pinned_split_conflicts.get(file.path, "") for file in rows],
    }
    for rule in ("non_regular_files", "invalid_names", "unlabeled_files", "max_unreadable"):
        table[rule] = [file.reason if file.rule == rule else "" for file in rows]
    own = zip(rows, table["invalid_names"], strict=True)
    table["invalid_names"] = [reason or collisions.get(file.path, "") for file, reason in own]
    return pd.DataFrame(table, dtype=object)


def _label_conflicts(rows: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    """Of rows (path, pixel digest, label): the paths whose pixels have another label elsewhere."""
    first: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path, pixels, label in rows:
        first[pixels].setdefault(label, path)
    conflicts = {}
    for path, pixels, label in rows:
        if others := [other for name, other in first[pixels].items() if name != label]:
            conflicts[path] = f"same pixels as {others[0]}"
    return conflicts


def _near_duplicate_label_conflicts(pairs: Sequence[NearDuplicate]) -> dict[str, str]:
    """By path of both: which near duplicate has another label."""
    conflicts: dict[str, str] = {}
    for pair in pairs:
        if pair.one.label != pair.other.label:
            conflicts.setdefault(pair.one.path, f"near duplicate of {pair.other.path}")
            conflicts.setdefault(pair.other.path, f"near duplicate of {pair.one.path}")
    return conflicts


def _case_collisions(paths: Sequence[str]) -> dict[str, str]:
    """Paths that other file systems take for one: equal but for case or Unicode composition."""
    spellings: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for path in paths:
        for part in _upwards(path):
            spellings[_folded(part)][part] = None
    return {
        path: f"differs from {other} only by case or accents"
        for path in paths
        for part in _upwards(path)
        for other in spellings[_folded(part)]
        if other != part
    }


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _used(data: ScannedDataset) -> pd.DataFrame:
    import pandas as pd

    sides = [sorted((item.file.info.width, item.file.info.height)) for item in data.items]
    return pd.DataFrame(
        {
            "name": [item.file.path for item in data.items],
            "shorter": [shorter for shorter, _ in sides],
            "longer": [longer for _, longer in sides],
            "aspect": [longer / shorter for shorter, longer in sides],
        }
    )


def _classes(data: ScannedDataset) -> pd.DataFrame:
    import pandas as pd

    counts = data.counts()
    totals = [sum(count.values()) for count in counts.values()]
    return pd.DataFrame(
        {
            "name": list(counts),
            "images": totals,
            "splits": [sum(1 for n in count.values() if n) for count in counts.values()],
            "imbalance": [max(totals) / total if total else float("inf") for total in totals],
            "group_share": list(_group_shares(data)),
            "class_names": list(_odd_names(data.class_names)),
        }
    )


def _group_shares(data: ScannedDataset) -> Iterator[float]:
    """Of each class: its largest group's share of its images; a single image is no group."""
    sizes = Counter(item.group for item in data.items)
    shared = Counter((item.file.label, item.group) for item in data.items if sizes[item.group] > 1)
    for name, count in data.counts().items():
        largest = max((n for (label, _), n in shared.items() if label == name), default=0)
        yield largest / max(sum(count.values()), 1)


def _odd_names(class_names: Sequence[str]) -> Iterator[str]:
    like_splits = {name for name in class_names if name.casefold() in _LIKE_A_SPLIT}
    for name in class_names:
        if len(like_splits) > 1 and name in like_splits:
            yield "looks like a split; name the three folders train, val and test"
        else:
            yield "" if name == name.strip() else "starts or ends with a space"
