"""Reading is timed, and the images are the same."""

import time

import numpy as np
from numpy.typing import NDArray

from components.io.data.timed_images import TimedImages


class Slow:
    """Four images that take a while."""

    pixels = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        time.sleep(0.05)
        return self.pixels[index]


def test_the_share_is_that_since_the_last_question() -> None:
    timed = TimedImages(Slow())
    assert len(timed) == 4
    np.testing.assert_array_equal(timed[np.array([2, 0])], Slow.pixels[[2, 0]])
    assert 0 < timed.share() <= 1
    assert timed.share() == 0
