"""What lies below the image folder: every file found, classified by name, read and decoded once.

Two layouts: class folders, or a training, a validation and a test folder of class folders. Deeper
folders belong to their class. Of symbolic links only those to DVC's cache are followed, and only
regular files are opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path
from sys import intern
from types import MappingProxyType
from typing import Literal
from unicodedata import category, normalize

from components.core.artifacts import Split
from components.core.data.decoding import ImageParams, InvalidImage, decode
from components.core.data.files import ImageFile, ImageInfo, Scan
from components.core.data.fingerprints import (
    Views,
    fingerprints,
    perceptual_hash,
    pixel_digest,
    views,
)
from components.core.data.headers import ANY_SIDES, InvalidSides, SideLimits
from components.core.data.layout import split_folders
from components.core.data.names import is_ignored
from components.io.data import links
from components.io.data.cpus import usable_cpus
from components.io.data.known_images import KnownImages

IGNORED = "hidden or junk file"
LINK = "a symbolic link"

# Edited since `dvc add`, or damaged in DVC's cache, whose label would then be another image's.
_CHANGED = "not the bytes in {pointer}; `dvc add` an edit, else delete it from DVC's cache and pull"

_KINDS_OF_LINK = {"object": "file", "missing": links.MISSING, "foreign": LINK}

# Files of one task of the thread pool, so that starting a task costs little beside decoding them.
_CHUNK = 32


def scan(
    images: Path,
    *,
    exclude: Sequence[str],
    params: ImageParams,
    cache: Path,
    sides: SideLimits = ANY_SIDES,
    md5s: Mapping[str, str] = MappingProxyType({}),
) -> Scan:
    """Find and decode every file below `images`: one read, one hash, one full decode each.

    Args:
        images: the image folder.
        exclude: glob patterns of relative paths that are left out; `*` crosses folders.
        params: how to decode.
        cache: folder that keeps what known bytes decode to; safe to delete.
        sides: an image beyond them is quarantined by its header, and not decoded.
        md5s: see `recorded.read`; a file of other bytes is quarantined.
    """
    globs = {glob: _compiled(glob) for glob in exclude}
    listed = [(path, kind, _why_ignored(path, globs)) for path, kind in _walk(images)]
    folders = [path.rstrip("/") for path, kind, why in listed if kind == "folder" and not why]
    splits = split_folders([path for path in folders if "/" not in path])
    found = [_classify(path, kind, why, splits) for path, kind, why in listed if kind != "folder"]
    found.sort(key=lambda file: file.path)
    labels = {printable(path).split("/")[-1] for path in folders if path.count("/") == bool(splits)}
    labels |= {file.label for file in found if file.label}
    known = KnownImages(cache, params)
    reader = _Reader(images, params, sides, known, md5s)
    measured = _measure_all(found, reader)
    return Scan(measured, sorted(labels), splits, known.fingerprints)


def entries(images: Path) -> Iterator[tuple[str, str]]:
    """Relative path and kind of all that lies below `images`, without junk; no file is opened.

    The kind is file or folder, or else what it is in words; a folder's path ends with a slash.
    """
    return ((path, kind) for path, kind in _walk(images) if not is_ignored(path))


def list_files(images: Path) -> set[str]:
    """The paths of all files below `images`, as the manifest shows them, without junk."""
    return {printable(path) for path, kind in entries(images) if kind != "folder"}


def printable(path: str) -> str:
    r"""A path fit for tables and terminals: control and undecodable characters as \n or \udcff.

    Backslashes are escaped too, so that no two files are shown alike.
    """
    if path.isprintable() and "\\" not in path:
        return path
    return "".join(c.encode("unicode_escape").decode() if _is_bad(c) else c for c in path)


def _is_bad(character: str) -> bool:
    # control characters, lone surrogates (undecodable bytes), line and paragraph separators
    return character == "\\" or category(character) in {"Cc", "Cs", "Zl", "Zp"}


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    """Relative path and kind of everything below `root`; a folder's path ends with a slash."""
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = list(listing)
        except OSError as error:
            yield folder.rstrip("/") or ".", f"a folder that cannot be read ({error.strerror})"
            continue
        for entry in entries:
            kind = _kind(entry)
            path = folder + entry.name + ("/" if kind == "folder" else "")
            pending += [path] if kind == "folder" else []
            yield path, kind


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return _KINDS_OF_LINK[links.kind_of_link(entry.path)]
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "a FIFO, socket or device"


def _compiled(glob: str) -> re.Pattern[str]:
    """The glob, and all below a folder that it names, however the accents in it are composed."""
    composed = normalize("NFC", glob)
    return re.compile(f"{translate(composed)}|{translate(composed.rstrip('/') + '/*')}")


def _why_ignored(path: str, exclude: Mapping[str, re.Pattern[str]]) -> str:
    if is_ignored(path):
        return IGNORED
    composed = normalize("NFC", path)
    return next(
        (f"excluded by {name}" for name, glob in exclude.items() if glob.match(composed)), ""
    )


def _classify(path: str, kind: str, why_ignored: str, splits: Mapping[str, Split]) -> ImageFile:
    """What is known without opening the file."""
    shown = printable(path)
    if why_ignored:
        return ImageFile(shown, status="ignored", reason=why_ignored)
    *folders, _ = shown.split("/")
    split: Split | Literal[""] = splits.get(folders[0], "") if folders else ""
    label = intern(folders[bool(splits)]) if len(folders) > bool(splits) else ""
    file = ImageFile(shown, label, split)
    if kind != "file":
        return file.quarantined("non_regular_files", kind)
    if shown != path:
        return file.quarantined("invalid_names", "a control or undecodable character in the name")
    where = f"directly in the split folder {folders[0]}" if split else "not inside a class folder"
    return file if label else file.quarantined("unlabeled_files", where)


def _measure_all(found: Sequence[ImageFile], reader: _Reader) -> list[ImageFile]:
    from tqdm import tqdm

    known = reader.known
    chunks = [found[start : start + _CHUNK] for start in range(0, len(found), _CHUNK)]

    def measure(chunk: Sequence[ImageFile]) -> list[ImageFile]:
        read: list[tuple[ImageFile, Views | None]] = []
        try:
            for file in chunk:
                read += [reader.read(file)]
        finally:  # what was read before an interruption is known, too
            measured = list(_with_fingerprints(read, known))
        return measured

    measured: list[ImageFile] = []
    # disable=None: a bar on terminals only
    bar = tqdm(total=len(found), desc="validate", unit="img", leave=False, disable=None)
    with bar, ThreadPoolExecutor(usable_cpus()) as pool:
        try:
            for chunk in pool.map(measure, chunks):
                measured += chunk
                bar.update(len(chunk))
        except BaseException:
            # Interrupted: stop soon, and let the next run go on from here.
            pool.shutdown(cancel_futures=True)
            known.save(known.all())
            raise
    known.save(file.sha256 for file in measured)
    return measured


@dataclass(frozen=True)
class _Reader:
    """Reads the files of one folder: see `scan`."""

    images: Path
    params: ImageParams
    sides: SideLimits
    known: KnownImages
    md5s: Mapping[str, str]

    def read(self, file: ImageFile) -> tuple[ImageFile, Views | None]:
        """The file with what it decodes to, and what its fingerprint needs unless it is known."""
        if file.status != "used":
            return file, None
        try:
            content = read_regular(self.images / file.path, self.params)
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            return file.quarantined("max_unreadable", reason), None
        file = replace(file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        md5 = self.md5s.get(file.path)
        if md5 and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            changed = _CHANGED.format(pointer=f"{self.images}.dvc")
            return file.quarantined("max_unreadable", changed), None
        if (info := self.known.get(file.sha256)) is None:
            return self._decode(file, content)
        file = replace(file, info=info)
        broken = self.sides.broken(info.width, info.height)
        return file.quarantined(*broken) if broken else file, None

    def _decode(self, file: ImageFile, content: bytes) -> tuple[ImageFile, Views | None]:
        try:
            image = decode(content, self.params, self.sides)
        except InvalidSides as error:
            info = ImageInfo(width=error.width, height=error.height, format=error.format)
            return replace(file, info=info).quarantined(error.rule, str(error)), None
        except InvalidImage as error:
            not_allowed = error.format and error.format not in self.params.formats
            file = replace(file, info=ImageInfo(format=error.format))
            return file.quarantined(
                "formats" if not_allowed else "max_unreadable", str(error)
            ), None
        info = ImageInfo(
            pixel_sha256=pixel_digest(image.pixels),
            phash="",  # of the fingerprint
            width=image.width,
            height=image.height,
            mode=image.mode,
            format=image.format,
            doubts=image.doubts,
        )
        return replace(file, info=info), views(image.pixels)


def _with_fingerprints(
    read: Sequence[tuple[ImageFile, Views | None]], known: KnownImages
) -> Iterator[ImageFile]:
    """The files, with the hashes of those that were new; their fingerprints are known from now."""
    found = fingerprints([seen for _, seen in read if seen is not None])
    rows = (found[k : k + 1] for k in range(len(found)))
    for file, seen in read:
        if seen is not None:
            row = next(rows)
            file = replace(file, info=replace(file.info, phash=perceptual_hash(row)))
            known.add(file.sha256, file.info, row.tobytes())
        yield file


def max_bytes(params: ImageParams) -> int:
    """The size of four uncompressed 16-bit channels, and of metadata: no image file is larger."""
    return params.max_pixels * 8 + (64 << 20)


def read_regular(path: Path, params: ImageParams) -> bytes:
    """The bytes of a regular file no larger than an image can be; anything else is an OSError.

    A link to an object of DVC's cache stands for a file, if that is still what DVC stored.
    """
    # The entry may have changed since it was listed: no link is followed, and no FIFO awaited.
    target = links.resolve(path)
    descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("no longer a regular file")
        if status.st_size > max_bytes(params):
            raise OSError(f"{status.st_size:,} bytes, more than {params.max_pixels:,} pixels take")
        content = file.read()
    if target != path and not links.is_object(target, content):
        raise OSError("a link to a damaged cache object; run `dvc checkout`")
    return content
