"""From files found to the manifest and the tables that the rules are about."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from components.core import splits
from components.core.artifacts import MANIFEST_COLUMNS, SPLITS, Split
from components.io.scan import File, Scan
from components.validate.rules import Table, ValidateParams

if TYPE_CHECKING:
    import pandas as pd

_LIKE_A_SPLIT = {"train", "training", "val", "valid", "validation", "test", "testing"}


@dataclass(frozen=True)
class Member:
    """A file that may be used, and where it belongs."""

    file: File
    group: str
    split: Split


@dataclass(frozen=True)
class DataSet:
    """Every file found, and group and split of those that may be used."""

    files: Sequence[File]
    members: Sequence[Member]
    class_names: Sequence[str]
    duplicates: int

    def counts(self) -> dict[str, dict[Split, int]]:
        """Images that may be used, by class and split."""
        tally = Counter((member.file.label, member.split) for member in self.members)
        return {name: {split: tally[name, split] for split in SPLITS} for name in self.class_names}


def arrange(found: Scan, params: ValidateParams) -> DataSet:
    """Drop all but one of files with equal bytes and label; give the others groups and splits.

    A ready-made split is kept as it is.
    """
    files = _mark_duplicates(found.files)
    used = [file for file in files if file.status == "used"]
    captured = splits.captured([file.path for file in used], params.group_pattern)
    groups = splits.group([file.facts.pixel_sha256 for file in used], splits.equal(captured))
    labels = [file.label for file in used]
    assigned = splits.assign(labels, groups, params.split, params.split_seed)
    rows = zip(used, groups, assigned, strict=True)
    members = [Member(file, group, file.split or split) for file, group, split in rows]
    duplicates = len([file for file in found.files if file.status == "used"]) - len(used)
    return DataSet(files, members, found.class_names, duplicates)


def _mark_duplicates(files: Sequence[File]) -> list[File]:
    """Ignore all but the first of files with equal bytes, label and ready-made split."""
    first: dict[tuple[str, str, str], str] = {}
    marked = []
    for file in files:
        key = file.sha256, file.label, file.split
        if file.status == "used" and (path := first.setdefault(key, file.path)) != file.path:
            file = replace(file, status="ignored", reason=f"same bytes as {path}")
        marked.append(file)
    return marked


def to_manifest(data: DataSet, *, with_splits: bool) -> pd.DataFrame:
    """The manifest: one row per file, by path."""
    import pandas as pd

    places = {member.file.path: member for member in data.members}
    rows = []
    for file in data.files:
        row = {**vars(file), **vars(file.facts), "group": "", "split": ""}
        if member := places.get(file.path):
            row |= {"group": member.group, "split": member.split if with_splits else ""}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))


def to_tables(data: DataSet) -> dict[Table, pd.DataFrame]:
    """What the rules look at; `name` is the path or the class."""
    return {"files": _files(data), "used": _used(data), "classes": _classes(data)}


def _files(data: DataSet) -> pd.DataFrame:
    """Files that are not ignored; a column named like a rule holds what is wrong by that rule."""
    import pandas as pd

    rows = [file for file in data.files if file.status != "ignored"]
    by_label = [(m.file.path, m.file.facts.pixel_sha256, m.file.label) for m in data.members]
    by_split = [(m.file.path, m.group, m.split) for m in data.members]
    conflicts = _clashes(by_label, "same pixels as")
    leaks = _clashes(by_split, "same pixels or group as")
    twins = _twins([file.path for file in rows])
    table = {
        "name": [file.path for file in rows],
        "format": [file.facts.format for file in rows],
        "label_conflicts": [conflicts.get(file.path, "") for file in rows],
        "split_leaks": [leaks.get(file.path, "") for file in rows],
    }
    for rule in ("special_files", "names", "stray_files", "max_unreadable"):
        table[rule] = [file.reason if file.rule == rule else "" for file in rows]
    own = zip(rows, table["names"], strict=True)
    table["names"] = [reason or twins.get(file.path, "") for file, reason in own]
    return pd.DataFrame(table, dtype=object)


def _clashes(rows: Sequence[tuple[str, str, str]], words: str) -> dict[str, str]:
    """Of rows (path, key, value): the paths whose key also stands with another value."""
    first: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path, key, value in rows:
        first[key].setdefault(value, path)
    clashing = {}
    for path, key, value in rows:
        if others := [p for v, p in first[key].items() if v != value]:
            clashing[path] = f"{words} {others[0]}"
    return clashing


def _twins(paths: Sequence[str]) -> dict[str, str]:
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


def _used(data: DataSet) -> pd.DataFrame:
    import pandas as pd

    sides = [sorted((m.file.facts.width, m.file.facts.height)) for m in data.members]
    return pd.DataFrame(
        {
            "name": [member.file.path for member in data.members],
            "shorter": [shorter for shorter, _ in sides],
            "longer": [longer for _, longer in sides],
            "aspect": [longer / shorter for shorter, longer in sides],
        }
    )


def _classes(data: DataSet) -> pd.DataFrame:
    import pandas as pd

    counts = data.counts()
    totals = [sum(count.values()) for count in counts.values()]
    return pd.DataFrame(
        {
            "name": list(counts),
            "images": totals,
            "splits": [sum(1 for n in count.values() if n) for count in counts.values()],
            "imbalance": [max(totals) / total if total else float("inf") for total in totals],
            "class_names": list(_odd_names(data.class_names)),
        }
    )


def _odd_names(class_names: Sequence[str]) -> Iterator[str]:
    like_splits = {name for name in class_names if name.casefold() in _LIKE_A_SPLIT}
    for name in class_names:
        if len(like_splits) > 1 and name in like_splits:
            yield "looks like a split; name the three folders train, val and test"
        else:
            yield "" if name == name.strip() else "starts or ends with a space"
