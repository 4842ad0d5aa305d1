"""Which files are used, what belongs together and why, and which split that makes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from components.core import splits
from components.core.artifacts import SPLITS, Split
from components.core.fingerprints import LOOK_SHAPE
from components.io.placement import Pin
from components.io.scan import File, Scan
from components.validate.rules import ValidateParams


@dataclass(frozen=True)
class Member:
    """A file that may be used, and where it belongs."""

    file: File
    group: str
    split: Split
    pinned: bool


@dataclass(frozen=True)
class DataSet:
    """Every file found, and what is known of those that may be used.

    Attributes:
        duplicates: files dropped because another one has the same bytes.
        look_alikes: members that look like another one.
        leaks: what is in another ready-made split than a file that it belongs to, by path.
        torn: what belongs to images that are pinned to several splits, by path.
    """

    files: Sequence[File]
    members: Sequence[Member]
    class_names: Sequence[str]
    duplicates: int
    look_alikes: int
    leaks: Mapping[str, str]
    torn: Mapping[str, str]

    def counts(self) -> dict[str, dict[Split, int]]:
        """Images that may be used, by class and split."""
        tally = Counter((member.file.label, member.split) for member in self.members)
        return {name: {split: tally[name, split] for split in SPLITS} for name in self.class_names}


class _Link(NamedTuple):
    """Two files, by position, that may not part."""

    one: int
    other: int
    why: str


def arrange(
    found: Scan, params: ValidateParams, stated: Mapping[str, str], pins: Mapping[str, Pin]
) -> DataSet:
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
    alike = list(_alike(readable, params))
    links = [*_same(readable, params, stated), *alike]
    pixels = [file.facts.pixel_sha256 for file in readable]
    grouped = splits.group(pixels, [(link.one, link.other) for link in links])
    group_of = {file.path: name for file, name in zip(readable, grouped, strict=True)}
    files = _mark_duplicates(found.files)
    used = [file for file in files if file.status == "used"]
    groups = [group_of[file.path] for file in used]
    held, torn = _hold(used, groups, pins)
    labels = [file.label for file in used]
    assigned = splits.assign(labels, groups, params.split, params.split_seed, held)
    members = [
        Member(file, group, file.split or split, file.facts.pixel_sha256 in pins)
        for file, group, split in zip(used, groups, assigned, strict=True)
    ]
    seen = {pixels[position] for link in alike for position in (link.one, link.other)}
    return DataSet(
        files=files,
        members=members,
        class_names=found.class_names,
        duplicates=len(readable) - len(used),
        look_alikes=sum(file.facts.pixel_sha256 in seen for file in used),
        leaks=_leaks(readable, links),
        torn=torn,
    )


def _same(
    files: Sequence[File], params: ValidateParams, stated: Mapping[str, str]
) -> Iterator[_Link]:
    """Files with equal pixels, of one stated group, or with equal captured text."""
    paths = [file.path for file in files]
    for why, keys in (
        ("same pixels as", [file.facts.pixel_sha256 for file in files]),
        ("stated to be of one group with", [stated.get(path) for path in paths]),
        ("by its name of one group with", splits.captured(paths, params.group_pattern)),
    ):
        for one, other in splits.equal(keys):
            yield _Link(one, other, why)


def _alike(files: Sequence[File], params: ValidateParams) -> Iterator[_Link]:
    """Look-alikes, each picture once however many files hold it."""
    if params.near_duplicate_bits is None:
        return
    import numpy as np

    from components.core import near_duplicates

    first: dict[str, int] = {}
    for position, file in enumerate(files):
        first.setdefault(file.facts.pixel_sha256, position)
    positions = list(first.values())
    looks = np.frombuffer(b"".join(files[p].facts.look for p in positions), dtype="<u8")
    pairs = near_duplicates.find(
        looks.reshape(-1, *LOOK_SHAPE), params.near_duplicate_bits, params.near_duplicate_likeness
    )
    for one, other in pairs:
        yield _Link(positions[one], positions[other], "looks like")


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


def _hold(
    used: Sequence[File], groups: Sequence[str], pins: Mapping[str, Pin]
) -> tuple[dict[str, Split], dict[str, str]]:
    """The split of each group with pinned pictures, and what is torn between two, by path."""
    held: defaultdict[str, dict[Split, str]] = defaultdict(dict)
    new: defaultdict[str, list[str]] = defaultdict(list)
    for file, group in zip(used, groups, strict=True):
        if pin := pins.get(file.facts.pixel_sha256):
            held[group].setdefault(pin.split, file.path)
        else:
            new[group].append(file.path)
    torn: dict[str, str] = {}
    for group, places in held.items():
        if len(places) > 1:
            ends = " and ".join(f"{path} (pinned to {split})" for split, path in places.items())
            torn |= dict.fromkeys(new[group] or places.values(), f"belongs together with {ends}")
    return {group: next(iter(places)) for group, places in held.items()}, torn


def _leaks(files: Sequence[File], links: Sequence[_Link]) -> dict[str, str]:
    """Files in another ready-made split than a file that they belong to, and why they do."""
    leaks: dict[str, str] = {}
    for link in links:
        one, other = files[link.one], files[link.other]
        if one.split != other.split:
            leaks.setdefault(one.path, f"{link.why} {other.path}")
            leaks.setdefault(other.path, f"{link.why} {one.path}")
    return leaks
