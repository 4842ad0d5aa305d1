"""What is known of images by the SHA-256 of their files: a table in memory, fingerprints on disk.

One file for each way to decode: fingerprints of equal size, a JSON table of their images, the
digest of both. It is replaced as a whole, and one that is not whole counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from components.core.data.decoding import CONVERSION_VERSION, ImageParams
from components.core.data.files import ImageInfo
from components.core.data.fingerprints import FINGERPRINT, FINGERPRINT_VERSION, Fingerprints
from components.core.errors import PipelineError
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
        self._new: BinaryIO | None = None
        self._open()

    def get(self, sha256: str) -> ImageInfo | None:
        """What a file with these bytes decodes to, if that is known."""
        return self._infos.get(sha256)

    def add(self, sha256: str, info: ImageInfo, fingerprint: bytes) -> None:
        """Keep what was learned of a file; its FINGERPRINT waits on disk for `save`."""
        if sha256 in self._rows:
            return
        try:
            if self._new is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # Without a name: gone when the process is, however it ends.
                self._new = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
                weakref.finalize(self, self._new.close)
            self._new.write(fingerprint)
        except OSError as error:
            raise PipelineError(
                f"{self._path.parent}: cannot be written ({error.strerror or error}). Free some "
                "space or fix the permissions, then run the same command again."
            ) from error
        self._rows[sha256] = len(self._rows)
        self._infos[sha256] = info

    def all(self) -> list[str]:
        """The sha256 of all known files."""
        return list(self._rows)

    def save(self, wanted: Iterable[str]) -> None:
        """Write what is known of the wanted files, by sha256, and forget all others."""
        kept = [sha256 for sha256 in dict.fromkeys(wanted) if sha256 in self._rows]
        if self._new is None and set(kept) == set(self._rows):
            return
        table = [[sha256, *astuple(self._infos[sha256])] for sha256 in kept]
        with files.replacing(self._path) as temporary, temporary.open("wb") as file:
            _write(file, self._read_rows(kept), json.dumps(table).encode())
        self._new = None
        self._open()

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

    def _open(self) -> None:
        """Keep the file open: one that another process puts in its place has other rows."""
        self._descriptor, self._infos = _open_table(self._path)
        if self._descriptor >= 0:
            weakref.finalize(self, os.close, self._descriptor)
        self._rows = {sha256: row for row, sha256 in enumerate(self._infos)}
        self._saved = len(self._rows)


def _write(file: BinaryIO, rows: Iterable[bytes], table: bytes) -> None:
    digest = hashlib.sha256()
    for part in chain(rows, (table,)):
        digest.update(part)
        file.write(part)
    file.write(_END.pack(digest.digest(), len(table)))


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
    for sha256, *info, doubts in json.loads(os.pread(descriptor, size, end - size)):
        known = ImageInfo(*info)
        yield sha256, replace(known, doubts=tuple((rule, why) for rule, why in doubts))
