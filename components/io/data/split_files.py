"""Two tables that people keep beside the images: what belongs together, and where it stays.

data/groups.csv: images of one group never part. data/splits.csv, the ledger: images that keep their
split, by their pixels, whatever is added, renamed or moved. Either may be its header line alone.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from components.core.artifacts import SPLITS, Split
from components.core.errors import InvalidData, MissingInput
from components.io import files

_GROUPS = ["path", "group"]
_LEDGER = ["pixel_sha256", "split", "path"]


class PinnedSplit(NamedTuple):
    """A line of the ledger; the path is the one at the time of pinning, for people."""

    split: Split
    path: str


def read_groups(path: Path, known: Collection[str]) -> dict[str, str]:
    """The stated group of each path.

    Args:
        path: the table.
        known: paths of all files found, relative to the image folder.

    Raises:
        MissingInput: there is no such table.
        InvalidData: it is broken, or names a file twice or one that is not there.
    """
    groups: dict[str, str] = {}
    for place, (name, group) in _read(path, _GROUPS):
        if name not in known:
            raise InvalidData(
                f"{place}: {name} is no file of the image folder; write its path below that "
                "folder, with forward slashes, or remove the line."
            )
        if name in groups:
            raise InvalidData(f"{place}: {name} stands there twice; remove one of the lines.")
        groups[name] = group
    return groups


def read_pinned_splits(path: Path) -> dict[str, PinnedSplit]:
    """The pinned split of each picture, by the digest of its pixels.

    Raises:
        MissingInput: there is no such table.
        InvalidData: it is broken, or pins a picture twice.
    """
    pins: dict[str, PinnedSplit] = {}
    for place, (pixels, word, name) in _read(path, _LEDGER):
        split = next((split for split in SPLITS if split == word), None)
        if split is None:
            raise InvalidData(f"{place}: {word!r} is no split; write train, val or test.")
        if len(pixels) != 64 or set(pixels) - set("0123456789abcdef"):
            raise InvalidData(
                f"{place}: {pixels[:20]!r} is no pixel digest of 64 hex digits; restore the line, "
                "or remove it and run `python -m pipeline pin-splits`."
            )
        if pixels in pins:
            raise InvalidData(f"{place}: pins {name} a second time; remove one of the lines.")
        pins[pixels] = PinnedSplit(split, name)
    return pins


def write_pinned_splits(path: Path, pins: Mapping[str, PinnedSplit]) -> None:
    """Write the ledger, sorted by path and digest, whole or not at all."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_LEDGER)
    by_path = sorted(pins.items(), key=lambda item: (item[1].path, item[0]))
    writer.writerows((pixels, pin.split, pin.path) for pixels, pin in by_path)
    files.write_text(path, text.getvalue())


def _read(path: Path, header: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each line below the header; blank lines are skipped."""
    title = ",".join(header)
    if not path.is_file():
        raise MissingInput(
            f"{path}: there is no such file; restore it (`git checkout {path}`), or write a file "
            f"that holds only the line {title}"
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
                raise InvalidData(f"{place}: is not of the form {title}; mend or remove it.")
            if row:
                yield place, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidData(f"{path}: is not CSV in UTF-8 ({error}); save it as such.") from error
