"""Decode once: resized images in a memory-mapped file, shared by all trials and steps.

The cache is keyed by the images' digests, the decoding settings and the size, verified when
opened, and safe to delete. What does not fit its limit, or the disk, is decoded again on every use.
Each file is hashed when it is decoded: bytes other than the manifest's are refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.data.decoding import CONVERSION_VERSION, DataParams, InvalidImage, load_image
from components.core.errors import ChangedInput
from components.io import files
from components.io.data.cpus import usable_cpus

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from components.core.training.inference import ImageArray

_log = logging.getLogger(__name__)

_GIB = 1 << 30


@dataclass(frozen=True)
class _Source:
    """Where the images come from and how they are decoded."""

    images: Path
    paths: list[str]
    digests: list[str]
    data: DataParams
    size: int

    def key(self) -> str:
        settings = self.data.decode_params.model_dump_json()
        text = "\n".join([str(CONVERSION_VERSION), settings, str(self.size), *self.digests])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def read(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, (S, S, 3), from bytes that are checked against the manifest."""
        path = self.images / self.paths[index]
        content = read_unchanged(path, self.digests[index])
        try:
            return load_image(content, self.size, self.data.decode_params)
        except InvalidImage as error:
            raise ChangedInput(
                f"{path}: validate could read it, but now: {error}; run `dvc repro`."
            ) from error


def read_unchanged(path: Path, sha256: str) -> bytes:
    """The bytes of an image, if they are the ones that validate saw; else `ChangedInput`."""
    try:
        content = _read(path)
    except OSError as error:
        raise ChangedInput(
            f"{path}: could not be read ({error.strerror or error}), but validate used it; restore "
            "it (`dvc checkout`) or run `dvc repro` to validate the folder as it is now."
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ChangedInput(
            f"{path}: its bytes have changed since validate; restore the file "
            "(`dvc checkout`) or run `dvc repro` to validate the folder as it is now."
        )
    return content


def _read(path: Path) -> bytes:
    """The bytes of a regular file, or of what DVC's link leads to; no FIFO is waited for."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("no longer a regular file")
        return file.read()


class _Streamed:
    """Images decoded on every use, one thread a CPU."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._pool = ThreadPoolExecutor(usable_cpus())

    def __len__(self) -> int:
        return len(self._source.paths)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        rows: Iterable[int] = np.arange(len(self))[index].tolist()
        return np.stack(list(self._pool.map(self._source.read, rows)))


class _Cached:
    """Images in a memory-mapped file."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        return np.array(self._array[index])


def open_pixels(
    rows: pd.DataFrame, images: Path, cache: Path, data: DataParams, image_size: int
) -> ImageArray:
    """The images of these manifest rows, in order, as squares of `image_size`.

    Args:
        rows: manifest rows with `path` and `sha256`.
        images: folder that the paths are relative to.
        cache: folder of the cache files.
        data: how to decode images, and the limit of the cache in GiB.
        image_size: side in pixels.

    Raises:
        ChangedInput: a file is gone or its bytes differ from the manifest's.
    """
    source = _Source(images, rows["path"].tolist(), rows["sha256"].tolist(), data, image_size)
    path = cache / f"{source.key()}.npy"
    if _intact(path):
        os.utime(path)
        return _Cached(np.load(path, mmap_mode="r"))
    needed = len(rows) * image_size * image_size * 3
    if not _make_room(cache, needed, int(data.cache_gib * _GIB)):
        _log.info(
            "cache     %.1f GiB of pixels do not fit (data.cache_gib, free disk): images are "
            "decoded again in every epoch",
            needed / _GIB,
        )
        return _Streamed(source)
    _build(path, source)
    return _Cached(np.load(path, mmap_mode="r"))


def _intact(path: Path) -> bool:
    """Whether the cache file has the digest noted beside it when it was built."""
    try:
        recorded = json.loads(path.with_suffix(".json").read_text())["sha256"]
        return bool(recorded == files.digest_file(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make_room(cache: Path, needed: int, limit: int) -> bool:
    """Delete the least recently used cache files until `needed` bytes fit; False if they cannot."""
    cache.mkdir(parents=True, exist_ok=True)
    if needed > limit:
        return False
    cached = []
    for path in cache.glob("*.npy"):
        with suppress(FileNotFoundError):  # other processes move and delete files here, too
            cached.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in cached)
    for _, size, oldest in sorted(cached):
        if total + needed <= limit:
            break
        total -= size
        oldest.unlink(missing_ok=True)
        oldest.with_suffix(".json").unlink(missing_ok=True)
    return shutil.disk_usage(cache).free > 1.1 * needed


def _build(path: Path, source: _Source) -> None:
    shape = (len(source.paths), source.size, source.size, 3)
    with files.replacing(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _reserve_disk(temporary)

        def fill(index: int) -> None:
            array[index] = source.read(index)

        with ThreadPoolExecutor(usable_cpus()) as pool:
            list(pool.map(fill, range(len(source.paths))))
        array.flush()
        note = json.dumps({"sha256": files.digest_file(temporary)})
    files.write_text(path.with_suffix(".json"), note + "\n")


def _reserve_disk(path: Path) -> None:
    """Fail now on a full disk: a mapped page without disk behind it would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
