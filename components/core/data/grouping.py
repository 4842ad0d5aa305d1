"""Which files are used, what belongs together and why, and which split that makes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from components.core.artifacts import SPLITS, Split
from components.core.data import near_duplicates, splits
from components.core.data.files import ImageFile, Scan
from components.core.data.fingerprints import Fingerprints
from components.core.data.hamming import Positions
from components.core.data.near_duplicates import NearDuplicateParams


def _three_shares(shares: dict[Split, float]) -> dict[Split, float]:
    if set(shares) != set(SPLITS) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError("shares of train, val and test that sum to 1")
    return shares


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    return pattern


class GroupingParams(BaseModel):
    """What belongs together, and how large the splits are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group_pattern: Annotated[str, AfterValidator(_compiles)] | None = Field(
        description="Regular expression on the path: files with equal captured text stay in one "
        "split; null = none."
    )
    near_duplicates: NearDuplicateParams | None = Field(
        description="Near duplicates stay in one split; null = do not look for any."
    )
    split: Annotated[
        dict[Split, Annotated[float, Field(gt=0, lt=1)]], AfterValidator(_three_shares)
    ] = Field(description="Shares of train, val and test; they sum to 1.")
    split_seed: int = Field(description="Another seed gives another split.")


@dataclass(frozen=True, slots=True)
class SplitItem:
    """A file that may be used, its group and its split."""

    file: ImageFile
    group: str
    split: Split
    pinned: bool


@dataclass(frozen=True)
class ScannedDataset:
    """Every file found, and what is known of those that may be used.

    Attributes:
        files: all files found, by path.
        items: the files that may be used, by path.
        class_names: sorted.
        copies: files dropped because another one has the same bytes, by the path of that one.
        split_folders: of `Scan`.
        near_duplicates: pairs of files, enough to connect all near duplicates.
        split_leakage: by path, why a file belongs together with one in another predefined split.
        pinned_split_conflicts: by path, which images pinned to several splits a file belongs to.
    """

    files: Sequence[ImageFile]
    items: Sequence[SplitItem]
    class_names: Sequence[str]
    split_folders: Mapping[str, Split]
    copies: Mapping[str, Sequence[str]]
    near_duplicates: Sequence[NearDuplicate]
    split_leakage: Mapping[str, str]
    pinned_split_conflicts: Mapping[str, str]

    def near_duplicate_groups(self) -> set[str]:
        """The groups that near duplicates make, by name."""
        return {pair.group for pair in self.near_duplicates}

    def with_near_duplicates(self) -> int:
        """How many images that may be used have a near duplicate."""
        pairs = self.near_duplicates
        near = {file.info.pixel_sha256 for pair in pairs for file in (pair.one, pair.other)}
        return sum(item.file.info.pixel_sha256 in near for item in self.items)

    def counts(self) -> dict[str, dict[Split, int]]:
        """Images that may be used, by class and split."""
        tally = Counter((item.file.label, item.split) for item in self.items)
        return {name: {split: tally[name, split] for split in SPLITS} for name in self.class_names}


@dataclass(frozen=True)
class NearDuplicate:
    """A file that may be used and one of its near duplicates.

    Attributes:
        group: of both.
        one: a file.
        other: another one.
        similarity: of `near_duplicates.NearDuplicates`.
    """

    group: str
    one: ImageFile
    other: ImageFile
    similarity: float


class _GroupEdge(NamedTuple):
    """Two files, by position, that stay in one split."""

    one: int
    other: int
    why: str


def group_and_split(
    scan: Scan, params: GroupingParams, groups: Mapping[str, str], pinned: Mapping[str, Split]
) -> ScannedDataset:
    """Drop all but one of files with equal bytes and label; give the others groups and splits.

    Files with equal pixels, near duplicates, and files of one listed or captured group belong
    together. A predefined split is kept as it is, and so is the split of a pinned image.

    Args:
        scan: all files.
        params: settings.
        groups: listed group of some paths.
        pinned: split of some images, by pixel_sha256.
    """
    readable = [file for file in scan.files if file.status == "used"]
    near = _find_near_duplicates(scan, readable, params.near_duplicates)
    near_edges = [_GroupEdge(one, other, "near duplicate of") for one, other, _ in near]
    edges = [*_exact_edges(readable, params.group_pattern, groups), *near_edges]
    pixels = [file.info.pixel_sha256 for file in readable]
    grouped = splits.group(pixels, [(edge.one, edge.other) for edge in edges])
    group_of = {file.path: name for file, name in zip(readable, grouped, strict=True)}
    files, copies = _mark_duplicates(scan.files)
    used = [file for file in files if file.status == "used"]
    names = [group_of[file.path] for file in used]
    pinned_groups, conflicts = _pinned_groups(used, names, pinned)
    labels = [file.label for file in used]
    assigned = splits.assign(labels, names, params.split, params.split_seed, pinned_groups)
    items = [
        SplitItem(file, name, file.split or split, file.info.pixel_sha256 in pinned)
        for file, name, split in zip(used, names, assigned, strict=True)
    ]
    return ScannedDataset(
        files=files,
        items=items,
        class_names=scan.class_names,
        split_folders=scan.split_folders,
        copies=copies,
        near_duplicates=[
            NearDuplicate(grouped[one], readable[one], readable[other], similarity)
            for one, other, similarity in near
        ],
        split_leakage=_split_leakage(readable, edges),
        pinned_split_conflicts=conflicts,
    )


def _exact_edges(
    files: Sequence[ImageFile], group_pattern: str | None, groups: Mapping[str, str]
) -> Iterator[_GroupEdge]:
    """Files with equal pixels, of one listed group, or with equal captured text."""
    paths = [file.path for file in files]
    for why, keys in (
        ("same pixels as", [file.info.pixel_sha256 for file in files]),
        ("listed in one group with", [groups.get(path) for path in paths]),
        ("by its name in one group with", splits.captured(paths, group_pattern)),
    ):
        for one, other in splits.equal(keys):
            yield _GroupEdge(one, other, why)


def _find_near_duplicates(
    scan: Scan, files: Sequence[ImageFile], params: NearDuplicateParams | None
) -> list[tuple[int, int, float]]:
    """Positions of near duplicates and their similarity, each image once however many hold it."""
    if params is None:
        return []
    first: dict[str, int] = {}
    for position, file in enumerate(files):
        first.setdefault(file.info.pixel_sha256, position)
    positions = list(first.values())

    def read(rows: Positions) -> Fingerprints:
        return scan.fingerprints([files[positions[row]].sha256 for row in rows.tolist()])

    found = near_duplicates.find(read, len(positions), params)
    return [(positions[one], positions[other], alike) for one, other, alike in found]


def _mark_duplicates(files: Sequence[ImageFile]) -> tuple[list[ImageFile], dict[str, list[str]]]:
    """Ignore all but the first of files with equal bytes, label and predefined split.

    Returns:
        All files, and which were dropped for each that was kept.
    """
    first: dict[tuple[str, str, str], str] = {}
    copies: defaultdict[str, list[str]] = defaultdict(list)
    marked = []
    for file in files:
        key = file.sha256, file.label, file.split
        if file.status == "used" and (path := first.setdefault(key, file.path)) != file.path:
            file = replace(file, status="ignored", reason=f"same bytes as {path}")
            copies[path].append(file.path)
        marked.append(file)
    return marked, dict(copies)


def _pinned_groups(
    used: Sequence[ImageFile], groups: Sequence[str], pinned: Mapping[str, Split]
) -> tuple[dict[str, Split], dict[str, str]]:
    """The split of each group with pinned images, and conflicts between two of them, by path."""
    pinned_in: defaultdict[str, dict[Split, str]] = defaultdict(dict)
    unpinned: defaultdict[str, list[str]] = defaultdict(list)
    for file, group in zip(used, groups, strict=True):
        if split := pinned.get(file.info.pixel_sha256):
            pinned_in[group].setdefault(split, file.path)
        else:
            unpinned[group].append(file.path)
    conflicts: dict[str, str] = {}
    for group, examples in pinned_in.items():
        if len(examples) > 1:
            ends = " and ".join(f"{path} (pinned to {split})" for split, path in examples.items())
            conflicts |= dict.fromkeys(
                unpinned[group] or examples.values(), f"belongs together with {ends}"
            )
    return {group: next(iter(examples)) for group, examples in pinned_in.items()}, conflicts


def _split_leakage(files: Sequence[ImageFile], edges: Sequence[_GroupEdge]) -> dict[str, str]:
    """Files in another predefined split than a file that they belong to, and why they do."""
    leakage: dict[str, str] = {}
    for edge in edges:
        one, other = files[edge.one], files[edge.other]
        if one.split != other.split:
            leakage.setdefault(one.path, f"{edge.why} {other.path}")
            leakage.setdefault(other.path, f"{edge.why} {one.path}")
    return leakage
