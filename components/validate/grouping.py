"""Which files are used, what belongs together and why, and which split that makes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from components.core.artifacts import SPLITS, Split
from components.core.data import splits
from components.core.data.fingerprints import FINGERPRINT_SHAPE
from components.io.data.scan import File, Scan
from components.io.data.split_files import PinnedSplit
from components.validate.rules import ValidateParams


@dataclass(frozen=True)
class SplitItem:
    """A file that may be used, and where it belongs."""

    file: File
    group: str
    split: Split
    pinned: bool


@dataclass(frozen=True)
class ScannedDataset:
    """Every file found, and what is known of those that may be used.

    Attributes:
        duplicates: files dropped because another one has the same bytes.
        near_duplicates: members that look like another one.
        leaks: what is in another ready-made split than a file that it belongs to, by path.
        conflicts: what belongs to images that are pinned to several splits, by path.
    """

    files: Sequence[File]
    members: Sequence[SplitItem]
    class_names: Sequence[str]
    duplicates: int
    near_duplicates: int
    leaks: Mapping[str, str]
    conflicts: Mapping[str, str]

    def counts(self) -> dict[str, dict[Split, int]]:
        """Images that may be used, by class and split."""
        tally = Counter((member.file.label, member.split) for member in self.members)
        return {name: {split: tally[name, split] for split in SPLITS} for name in self.class_names}


class _GroupEdge(NamedTuple):
    """Two files, by position, that may not part."""

    one: int
    other: int
    why: str


def group_and_split(
    found: Scan, params: ValidateParams, stated: Mapping[str, str], pins: Mapping[str, PinnedSplit]
) -> ScannedDataset:
    """Drop all but one of files with equal bytes and label; give the others groups and splits.

    Files with equal pixels, look-alikes, and files of one stated or captured group belong together.
    A ready-made split is kept as it is, and so is the split of a pinned picture.

    Args:
        found: all files.
        params: settings.
        stated: group of some paths.
        pins: split of some pictures, by their pixel_sha256.
    """
    readable = [file for file in found.files if file.status == "used"]
    alike = list(_near_duplicate_edges(readable, params))
    links = [*_exact_edges(readable, params, stated), *alike]
    pixels = [file.info.pixel_sha256 for file in readable]
    grouped = splits.group(pixels, [(link.one, link.other) for link in links])
    group_of = {file.path: name for file, name in zip(readable, grouped, strict=True)}
    files = _mark_duplicates(found.files)
    used = [file for file in files if file.status == "used"]
    groups = [group_of[file.path] for file in used]
    held, conflicts = _pinned_groups(used, groups, pins)
    labels = [file.label for file in used]
    assigned = splits.assign(labels, groups, params.split, params.split_seed, held)
    members = [
        SplitItem(file, group, file.split or split, file.info.pixel_sha256 in pins)
        for file, group, split in zip(used, groups, assigned, strict=True)
    ]
    seen = {pixels[position] for link in alike for position in (link.one, link.other)}
    return ScannedDataset(
        files=files,
        members=members,
        class_names=found.class_names,
        duplicates=len(readable) - len(used),
        near_duplicates=sum(file.info.pixel_sha256 in seen for file in used),
        leaks=_leaks(readable, links),
        conflicts=conflicts,
    )


def _exact_edges(
    files: Sequence[File], params: ValidateParams, stated: Mapping[str, str]
) -> Iterator[_GroupEdge]:
    """Files with equal pixels, of one stated group, or with equal captured text."""
    paths = [file.path for file in files]
    for why, keys in (
        ("same pixels as", [file.info.pixel_sha256 for file in files]),
        ("stated to be of one group with", [stated.get(path) for path in paths]),
        ("by its name of one group with", splits.captured(paths, params.group_pattern)),
    ):
        for one, other in splits.equal(keys):
            yield _GroupEdge(one, other, why)


def _near_duplicate_edges(files: Sequence[File], params: ValidateParams) -> Iterator[_GroupEdge]:
    """Look-alikes, each picture once however many files hold it."""
    if params.near_duplicate_bits is None:
        return
    import numpy as np

    from components.core.data import near_duplicates

    first: dict[str, int] = {}
    for position, file in enumerate(files):
        first.setdefault(file.info.pixel_sha256, position)
    positions = list(first.values())
    fingerprints = np.frombuffer(
        b"".join(files[p].info.fingerprint for p in positions), dtype="<u8"
    )
    pairs = near_duplicates.find(
        fingerprints.reshape(-1, *FINGERPRINT_SHAPE),
        params.near_duplicate_bits,
        params.near_duplicate_likeness,
    )
    for one, other in pairs:
        yield _GroupEdge(positions[one], positions[other], "fingerprints like")


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


def _pinned_groups(
    used: Sequence[File], groups: Sequence[str], pins: Mapping[str, PinnedSplit]
) -> tuple[dict[str, Split], dict[str, str]]:
    """The split of each group with pinned pictures, and conflicts between two of them, by path."""
    held: defaultdict[str, dict[Split, str]] = defaultdict(dict)
    new: defaultdict[str, list[str]] = defaultdict(list)
    for file, group in zip(used, groups, strict=True):
        if pin := pins.get(file.info.pixel_sha256):
            held[group].setdefault(pin.split, file.path)
        else:
            new[group].append(file.path)
    conflicts: dict[str, str] = {}
    for group, places in held.items():
        if len(places) > 1:
            ends = " and ".join(f"{path} (pinned to {split})" for split, path in places.items())
            conflicts |= dict.fromkeys(
                new[group] or places.values(), f"belongs together with {ends}"
            )
    return {group: next(iter(places)) for group, places in held.items()}, conflicts


def _leaks(files: Sequence[File], links: Sequence[_GroupEdge]) -> dict[str, str]:
    """Files in another ready-made split than a file that they belong to, and why they do."""
    leaks: dict[str, str] = {}
    for link in links:
        one, other = files[link.one], files[link.other]
        if one.split != other.split:
            leaks.setdefault(one.path, f"{link.why} {other.path}")
            leaks.setdefault(other.path, f"{link.why} {one.path}")
    return leaks
