"""What is known of images by the SHA-256 of their files: a table in memory, fingerprints on disk.

One file for each way to decode: fingerprints of equal size, a line of JSON for each of their
images, the digest of both. It is replaced as a whole, and one that is not whole counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from sys import intern
from typing import BinaryIO

import numpy as np

from components.core.data.decoding import CONVERSION_VERSION, ImageParams
from components.core.data.files import ImageInfo
from components.core.data.fingerprints import FINGERPRINT, FINGERPRINT_VERSION, Fingerprints
from components.io import files

_SIZE = FINGERPRINT.itemsize
_BLOCK = 1 << 20

# At the end of the file: the SHA-256 of what is before, and the bytes that the table takes of it.
_END = struct.Struct("<32sQ")


class KnownImages:
    """What is known of images from earlier runs, and what this run adds to it.

    Fingerprints are read from disk, row by row, and never all kept: 100,000 take 0.26 GB.
    """

    def __init__(self, cache: Path, params: ImageParams) -> None:
        """Read what is known; nothing where the file is absent or damaged.

        Args:
            cache: folder that keeps it; safe to delete.
            params: how the images are decoded.
        """
        versions = f"{CONVERSION_VERSION} {FINGERPRINT_VERSION} {params.model_dump_json()}"
        key = hashlib.sha256(versions.encode()).hexdigest()
        self._path = cache / f"known-{key[:16]}.bin"
        self._adding = threading.Lock()
        self._new: BinaryIO | None = None
        self._keep(*_open_table(self._path))

    def get(self, sha256: str) -> ImageInfo | None:
        """What a file with these bytes decodes to, if that is known."""
        return self._infos.get(sha256)

    def add(self, sha256: str, info: ImageInfo, fingerprint: bytes) -> None:
        """Keep what was learned of a file, from any thread; its FINGERPRINT waits on disk."""
        with self._adding:
            if sha256 not in self._rows:
                self._append(fingerprint)
                self._rows[sha256] = len(self._rows)
                self._infos[sha256] = info

    def _append(self, fingerprint: bytes) -> None:
        try:
            if self._new is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # Without a name: gone when the process is, however it ends.
                self._new = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
                weakref.finalize(self, _close, self._new)
            self._new.write(fingerprint)
        except OSError as error:
            raise files.unwritable(self._path, error) from error

    def all(self) -> list[str]:
        """The sha256 of all known files."""
        return list(self._rows)

    def save(self, wanted: Iterable[str]) -> None:
        """Write what is known of the wanted files, by sha256, and forget all others."""
        kept = [sha256 for sha256 in dict.fromkeys(wanted) if sha256 in self._rows]
        if self._new is None and set(kept) == set(self._rows):
            return
        infos = {sha256: self._infos[sha256] for sha256 in kept}
        table = (f"{json.dumps([name, *astuple(info)])}\n".encode() for name, info in infos.items())
        with files.replacing(self._path) as temporary, temporary.open("wb") as file:
            _write(file, self._read_rows(kept), table)
            # Not opened by its name later: another process may put its own in that place.
            descriptor = os.open(temporary, os.O_RDONLY)
        self._keep(descriptor, infos)

    def fingerprints(self, sha256s: Sequence[str]) -> Fingerprints:
        """Of known files: one FINGERPRINT each."""
        return np.frombuffer(b"".join(self._read_rows(sha256s)), FINGERPRINT)

    def _read_rows(self, sha256s: Iterable[str]) -> Iterator[bytes]:
        if self._new is not None:
            self._new.flush()
        for sha256 in sha256s:
            row = self._rows[sha256]
            if row < self._saved:
                yield os.pread(self._descriptor, _SIZE, row * _SIZE)
            elif self._new is not None:
                yield os.pread(self._new.fileno(), _SIZE, (row - self._saved) * _SIZE)

    def _keep(self, descriptor: int, infos: dict[str, ImageInfo]) -> None:
        """Read the fingerprints of these images from this file."""
        self._descriptor, self._infos = descriptor, infos
        if descriptor >= 0:
            weakref.finalize(self, os.close, descriptor)
        self._rows = {sha256: row for row, sha256 in enumerate(infos)}
        self._saved = len(infos)
        self._new = None


def _close(unnamed: BinaryIO) -> None:
    """Close what goes with the process; a full disk, which was told, does not take the rest."""
    with suppress(OSError):
        unnamed.close()


def _write(file: BinaryIO, rows: Iterable[bytes], table: Iterable[bytes]) -> None:
    digest, size = hashlib.sha256(), 0
    for row in rows:
        digest.update(row)
        file.write(row)
    for line in table:
        digest.update(line)
        size += file.write(line)
    file.write(_END.pack(digest.digest(), size))


def _open_table(path: Path) -> tuple[int, dict[str, ImageInfo]]:
    """A descriptor and the table by row; -1 and nothing unless the file is whole."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return -1, {}
    try:
        return descriptor, dict(_read_table(descriptor))
    except (OSError, ValueError, TypeError, struct.error):
        os.close(descriptor)
        return -1, {}


def _read_table(descriptor: int) -> Iterator[tuple[str, ImageInfo]]:
    end = os.fstat(descriptor).st_size - _END.size
    expected, size = _END.unpack(os.pread(descriptor, _END.size, max(end, 0)))
    digest = hashlib.sha256()
    for start in range(0, end, _BLOCK):
        digest.update(os.pread(descriptor, min(_BLOCK, end - start), start))
    if digest.digest() != expected:
        raise ValueError("damaged")
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(end - size)
        while file.tell() < end:
            sha256, pixels, phash, width, height, mode, kind, doubts = json.loads(file.readline())
            why = tuple((rule, reason) for rule, reason in doubts)
            mode, kind = intern(mode), intern(kind)  # the same few in every row
            yield sha256, ImageInfo(pixels, phash, width, height, mode, kind, why)
