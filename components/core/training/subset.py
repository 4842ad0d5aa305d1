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
    count = min(len(pixels), limit)
    return Subset(pixels, np.linspace(0, len(pixels) - 1, count).round().astype(np.int64))


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
