"""Some images of an array, or several arrays in a row, read as one array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from components.core.training.inference import ImageArray


@dataclass(frozen=True)
class Subset:
    """Some of the images, under new indices."""

    pixels: ImageArray
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of images in the subset."""
        return len(self.indices)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Images at `index` of the subset."""
        return self.pixels[self.indices[index]]


def evenly(pixels: ImageArray, limit: int) -> Subset:
    """At most `limit` of the images, evenly chosen, in their order."""
    return Subset(pixels, evenly_spaced(np.arange(len(pixels)), limit))


def evenly_spaced(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """At most `limit` of the rows (N,), with the first and, unless the limit is 1, the last."""
    count = min(len(rows), limit)
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def of_each_class(labels: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Sorted indices of at most `limit` images of each class, evenly chosen."""
    members = (np.flatnonzero(labels == label) for label in np.unique(labels))
    return np.sort(np.concatenate([evenly_spaced(rows, limit) for rows in members]))


@dataclass(frozen=True)
class Joined:
    """The images of several arrays of equal image size, one array after the other."""

    parts: Sequence[ImageArray]

    def __len__(self) -> int:
        """Number of images."""
        return sum(map(len, self.parts))

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Images at `index`."""
        wanted = np.arange(len(self))[index]
        size = self.parts[0][slice(0, 1)].shape[1:]
        images, start = np.empty((len(wanted), *size), np.uint8), 0
        for part in self.parts:
            here = (wanted >= start) & (wanted < start + len(part))
            if here.any():
                images[here] = part[wanted[here] - start]
            start += len(part)
        return images
