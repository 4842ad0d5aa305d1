"""Images that know how long it took to read them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.core.training.inference import ImageArray


class TimedImages:
    """The same images, and which share of the time went into reading them.

    On a CPU a training waits for that time. On a GPU images are read ahead by a thread: a share
    near 1 of the whole time means that the GPU waits for it.
    """

    def __init__(self, pixels: ImageArray) -> None:
        self._pixels = pixels
        self._seconds, self._since = 0.0, time.monotonic()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._pixels)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Images at `index`: (B, S, S, 3) uint8."""
        started = time.monotonic()
        found = self._pixels[index]
        self._seconds += time.monotonic() - started
        return found

    def share(self) -> float:
        """Share of the time since the last call, or since the beginning, that reading took."""
        now = time.monotonic()
        found = self._seconds / max(now - self._since, 1e-9)
        self._seconds, self._since = 0.0, now
        return found
