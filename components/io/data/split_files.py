"""Two tables that people keep beside the images: what belongs together, and which splits are fixed.

data/groups.csv: images of one group stay in one split. data/splits.csv, the pinned splits: images
that keep their split, by their pixels, whatever is added, renamed or moved. Either may consist of
its header line alone.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from components.core.artifacts import SPLITS, Split
from components.core.data.layout import split_folders
from components.core.errors import ChangedInput, InvalidData, MissingInput, PipelineError
from components.io import files
from components.io.data import manifest as manifest_file

_GROUPS = ["path", "group"]
_PINNED_SPLITS = ["pixel_sha256", "split", "path"]


class PinnedSplit(NamedTuple):
    """A line of the pinned splits; the path is the one at the time of pinning, for people."""

    split: Split
    path: str


def read_groups(path: Path, known: Collection[str]) -> dict[str, str]:
    """The listed group of each path, however accents are composed here and there.

    Args:
        path: the table.
        known: paths of all files found, relative to the image folder.

    Raises:
        MissingInput: there is no such table.
        InvalidData: it is broken, or names a file twice, one that is not there, or one of two
            that look the same.
    """
    groups: dict[str, str] = {}
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in known:
        spellings[normalize("NFC", name)].append(name)
    for place, (listed, group) in _read(path, _GROUPS):
        found = spellings.get(normalize("NFC", listed), [])
        if not found:
            raise InvalidData(
                f"{place}: {listed} is not in the image folder; write its path relative to that "
                "folder, with forward slashes, or remove the line."
            )
        if len(found) > 1:
            raise InvalidData(
                f"{place}: {listed} is in the image folder {len(found)} times, which differ by "
                f"how accents are composed ({' and '.join(map(ascii, sorted(found)))}); rename one."
            )
        if found[0] in groups:
            raise InvalidData(f"{place}: {listed} is listed twice; remove one of the lines.")
        groups[found[0]] = group
    return groups


def read_pinned_splits(path: Path) -> dict[str, PinnedSplit]:
    """The pinned split of each image, by the digest of its pixels.

    Raises:
        MissingInput: there is no such table.
        InvalidData: it is broken, or pins an image twice.
    """
    pinned: dict[str, PinnedSplit] = {}
    for place, (pixels, word, name) in _read(path, _PINNED_SPLITS):
        split = next((split for split in SPLITS if split == word), None)
        if split is None:
            raise InvalidData(f"{place}: {word!r} is not a split; write train, val or test.")
        if len(pixels) != 64 or set(pixels) - set("0123456789abcdef"):
            raise InvalidData(
                f"{place}: {pixels[:20]!r} is not a pixel digest of 64 hex digits; restore the "
                "line, or remove it and run `python -m pipeline pin-splits`."
            )
        if pixels in pinned:
            raise InvalidData(f"{place}: pins {name} a second time; remove one of the lines.")
        pinned[pixels] = PinnedSplit(split, name)
    return pinned


def write_pinned_splits(path: Path, pinned: Mapping[str, PinnedSplit]) -> None:
    """Write the pinned splits, sorted by path and digest, whole or not at all."""
    by_path = sorted(pinned.items(), key=lambda item: (item[1].path, item[0]))
    rows = ((pixels, pin.split, pin.path) for pixels, pin in by_path)
    files.write_csv(path, _PINNED_SPLITS, rows)


def pin_splits(manifest: Path, report: Path, pinned_splits: Path) -> str:
    """Pin the split of every used image, so that data can grow without moving an image.

    Lines of images that are gone stay: an image that comes back is in its old split.

    Args:
        manifest: of the last validation, which passed.
        report: of the same validation.
        pinned_splits: the table to extend.

    Returns:
        What was done, in one sentence.

    Raises:
        MissingInput: validate has not run, or the table is absent.
        ChangedInput: the data did not pass, or the table was edited after validate.
        PipelineError: the data have a predefined split, which nothing can move.
    """
    rows = manifest_file.read(manifest, report, SPLITS)
    images = list(rows[["pixel_sha256", "split", "path"]].itertuples(index=False))
    if split_folders({path.partition("/")[0] for _, _, path in images}):
        raise PipelineError(
            f"{manifest}: the images have a predefined split (folders train, val and test), which "
            "never changes; there is nothing to pin."
        )
    pinned = read_pinned_splits(pinned_splits)
    before = len(pinned)
    for pixels, split, path in images:
        known = pinned.setdefault(pixels, PinnedSplit(split, path))
        if known.split != split:
            raise ChangedInput(
                f"{pinned_splits}: pins {path} to {known.split}, but {manifest} has it in {split}; "
                "run `dvc repro validate` first."
            )
    if len(pinned) > before:
        write_pinned_splits(pinned_splits, pinned)
    sizes = Counter(known.split for known in pinned.values())
    by_split = ", ".join(f"{split} {sizes[split]:,}" for split in SPLITS)
    new = len(pinned) - before
    return f"{pinned_splits}: {len(pinned):,} images pinned, {new:,} of them new: {by_split}"


def _read(path: Path, header: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each line below the header; blank lines are skipped."""
    title = ",".join(header)
    if not path.is_file():
        raise MissingInput(
            f"{path}: does not exist; restore it (`git checkout {path}`), or write a file "
            f"with the header line alone: {title}"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = csv.reader(StringIO(text, newline=""), strict=True)
        first = next(rows, [])
        if first != header:
            found = ",".join(first)[:60]
            raise InvalidData(f"{path}: begins with {found!r}; its first line must be {title}")
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            if row and (len(row) != len(header) or not all(row)):
                raise InvalidData(f"{place}: is not of the form {title}; fix or remove it.")
            if row:
                yield place, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidData(f"{path}: is not CSV in UTF-8 ({error}); save it as such.") from error
