"""How one data set differs from another: by pixels, whatever the files are called."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from components.core.artifacts import DIGEST_COLUMNS, Part, Share, data_digest

if TYPE_CHECKING:
    import pandas as pd


class ShareShift(Part):
    """How a class's share of all images changed."""

    name: str = Field(description="Of the class.")
    before: Share = Field(description="In the champion's data.")
    now: Share = Field(description="In these data.")


class DataDiff(Part):
    """How the data differ from the champion's, by pixels: renamed files are the same files."""

    baseline: str = Field(
        description="Data digest of the champion's data; empty: there is none, and all else is 0."
    )
    unchanged: int = Field(description="Images of equal pixels, label and split.")
    added: int = Field(description="Images that are new.")
    removed: int = Field(description="Images that are gone.")
    relabeled: int = Field(description="Images with another label.")
    moved: int = Field(description="Images in another split.")
    largest_shift: ShareShift | None = Field(description="None without a baseline.")
    examples: dict[str, list[str]] = Field(
        description="Kind of change -> up to five paths of such images."
    )


_EXAMPLES = 5
_KINDS = ("added", "removed", "relabeled", "moved")


class _Image(NamedTuple):
    """A used row of a manifest."""

    pixels: str
    label: str
    split: str
    path: str


_NONE = _Image("", "", "", "")


def slim(manifest: pd.DataFrame) -> pd.DataFrame:
    """What `compare` and the data digest need of a manifest: all rows, some columns."""
    return manifest[[*DIGEST_COLUMNS, "status"]]


class DataChange(NamedTuple):
    """An image that changed; of one that was added the former label and split are empty."""

    kind: str  # added | removed | relabeled | moved
    path: str  # now; of a removed one as it was
    label_before: str
    label: str
    split_before: str
    split: str


def compare(before: pd.DataFrame | None, now: pd.DataFrame) -> DataDiff:
    """What was added, removed, relabeled or moved between splits.

    Every used image counts once: as unchanged if there was one of the same pixels, label and split;
    else as moved, if of the same pixels and label; else as relabeled, if of the same pixels. So
    the images now are unchanged + moved + relabeled + added, and those before are unchanged +
    moved + relabeled + removed, also where the same pixels are there several times.

    Args:
        before: manifest of the baseline, at least the columns of `slim`; None if there is none.
        now: manifest of the data in question.
    """
    if before is None:
        return _to_diff("", {}, None)
    old, new = _used(before), _used(now)
    found = _changes(old, new)
    paths = {kind: [is_now.path or was.path for was, is_now in found[kind]] for kind in found}
    return _to_diff(data_digest(before), paths, _largest_shift(old, new))


def list_changes(before: pd.DataFrame | None, now: pd.DataFrame) -> list[DataChange]:
    """Every image that `compare` counts as changed, by kind and path.

    Args:
        before: as for `compare`.
        now: as for `compare`.
    """
    if before is None:
        return []
    pairs = _changes(_used(before), _used(now))
    changes = []
    for kind in _KINDS:
        for was, is_now in pairs[kind]:
            place = is_now.path or was.path
            labels, splits = (was.label, is_now.label), (was.split, is_now.split)
            changes.append(DataChange(kind, place, *labels, *splits))
    return sorted(changes, key=lambda change: (_KINDS.index(change.kind), change.path))


def seen_before(before: pd.DataFrame | None, now: pd.DataFrame) -> set[str]:
    """Paths of test images that were in the baseline's train or val split.

    So were those of whose group, near duplicates included, another image was there.

    Args:
        before: as for `compare`.
        now: as for `compare`.
    """
    if before is None:
        return set()
    used = before[(before["status"] == "used") & before["split"].isin(["train", "val"])]
    known = now["pixel_sha256"].isin(set(used["pixel_sha256"])) & (now["status"] == "used")
    test = now[(now["status"] == "used") & (now["split"] == "test")]
    return set(test["path"][test["group"].isin(set(now["group"][known]))])


def _changes(
    old: Sequence[_Image], new: Sequence[_Image]
) -> dict[str, list[tuple[_Image, _Image]]]:
    """Kind -> (was, is), one of them empty for images that are new or gone."""
    found: dict[str, list[tuple[_Image, _Image]]] = {}
    removed, added = old, new
    for kind, fields in (("unchanged", 3), ("moved", 2), ("relabeled", 1)):
        found[kind], removed, added = _match(removed, added, fields)
    found["added"] = [(_NONE, image) for image in added]
    found["removed"] = [(image, _NONE) for image in removed]
    return found


def _used(manifest: pd.DataFrame) -> list[_Image]:
    rows = manifest[manifest["status"] == "used"].sort_values("path")
    columns = rows[["pixel_sha256", "label", "split", "path"]]
    return [_Image(*row) for row in columns.itertuples(index=False)]


def _match(
    old: Sequence[_Image], new: Sequence[_Image], fields: int
) -> tuple[list[tuple[_Image, _Image]], list[_Image], list[_Image]]:
    """Pair images that agree in the first `fields`: (was, is) of the pairs, both remainders."""
    waiting: defaultdict[tuple[str, ...], list[_Image]] = defaultdict(list)
    for image in old:
        waiting[image[:fields]].append(image)
    paired, rest = [], []
    for image in new:
        if same := waiting[image[:fields]]:
            paired.append((same.pop(), image))
        else:
            rest.append(image)
    return paired, [image for images in waiting.values() for image in images], rest


def _largest_shift(old: Sequence[_Image], new: Sequence[_Image]) -> ShareShift | None:
    """The class whose share of the images changed most; None when there are no classes."""
    before, now = Counter(image.label for image in old), Counter(image.label for image in new)

    def shift(name: str) -> ShareShift:
        return ShareShift(
            name=name,
            before=before[name] / max(len(old), 1),
            now=now[name] / max(len(new), 1),
        )

    shifts = map(shift, sorted({*before, *now}))
    return max(shifts, key=lambda found: abs(found.now - found.before), default=None)


def _to_diff(
    baseline: str, found: Mapping[str, Sequence[str]], shift: ShareShift | None
) -> DataDiff:
    paths = {kind: sorted(found.get(kind, ())) for kind in _KINDS}
    return DataDiff(
        baseline=baseline,
        unchanged=len(found.get("unchanged", ())),
        added=len(paths["added"]),
        removed=len(paths["removed"]),
        relabeled=len(paths["relabeled"]),
        moved=len(paths["moved"]),
        largest_shift=shift,
        examples={kind: paths[kind][:_EXAMPLES] for kind in _KINDS},
    )
