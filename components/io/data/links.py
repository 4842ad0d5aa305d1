"""Symbolic links below the image folder: those of DVC lead to its cache, all others are foreign.

With `dvc config cache.type symlink` every image is a link to an object of DVC's cache. Such a link
is followed, because its content is bound to its name: an object is called by the MD5 of its bytes.
No other link is, so that no private file comes in by one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

LinkKind = Literal["object", "missing", "foreign"]

# <cache>/files/md5/ab/<30 hex digits>; before DVC 3: <cache>/ab/<30 hex digits>.
_OBJECT = re.compile(r".*/([0-9a-f]{2})/([0-9a-f]{30})", re.DOTALL)

MISSING = "a link to a missing cache object; run `dvc checkout`"


def kind_of_link(path: str | Path) -> LinkKind:
    """What a symbolic link leads to, by where it ends: it may go through other links.

    Returns:
        object: an object of a DVC cache, if `is_object` says so of its bytes; missing: the place of
        such an object, where there is none; foreign: anything else.
    """
    target = os.path.realpath(path)
    if not _OBJECT.fullmatch(target):
        return "foreign"
    if not os.path.lexists(target):
        return "missing"
    return "object" if Path(target).is_file() else "foreign"


def resolve(path: Path) -> Path:
    """What to open for `path`: itself, or the cache object that it is a link to.

    Raises:
        OSError: it is a link to anything else.
    """
    if not path.is_symlink():
        return path
    kind = kind_of_link(path)
    if kind != "object":
        raise OSError(MISSING if kind == "missing" else "a symbolic link")
    return Path(os.path.realpath(path))


def is_object(target: Path, content: bytes) -> bool:
    """Whether `content` is what DVC stored at this place of its cache."""
    name = "".join(target.parts[-2:])
    # Before version 3, DVC hashed files that look like text with Unix line ends.
    return any(
        hashlib.md5(text, usedforsecurity=False).hexdigest() == name
        for text in (content, content.replace(b"\r\n", b"\n"))
    )


def foreign_links(folder: Path) -> list[tuple[str, str]]:
    """The symbolic links below `folder` that are not DVC's, sorted: path in `folder`, and target.

    `dvc add` would follow each of them: what it leads to would be stored, and pushed. A link to a
    missing cache object is DVC's.
    """
    return sorted((path, target) for path, kind, target in _links(folder) if kind == "foreign")


def missing_objects(folder: Path) -> list[str]:
    """The links below `folder` to objects that are not in DVC's cache, sorted."""
    return sorted(path for path, kind, _ in _links(folder) if kind == "missing")


def _links(folder: Path) -> Iterator[tuple[str, LinkKind, str]]:
    """Path in `folder`, kind and target of every symbolic link below it."""
    for place, folders, files in os.walk(folder):
        # A link to a folder is listed among the folders, and not entered.
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink():
                yield path.relative_to(folder).as_posix(), kind_of_link(path), str(path.readlink())
