"""A training on noise, as tune and train do it: its speed and its memory."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from components.core.training.schedule import count_parts
from pipeline.costs import peak_mebibytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from components.core.training.config import TrainingConfig

# Seconds of a batch that are worth its real size, and of all epochs after the first, about.
BATCH_SECONDS, _EPOCH_SECONDS = 1.5, 0.6
_MOST_BATCHES = 8  # an epoch


def noise(count: int, side: int) -> NDArray[np.uint8]:
    """Images of noise, (count, side, side, 3)."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


class NoiseTraining:
    """A training on noise: its speed once it is warm, and the memory that it takes.

    Attributes:
        state: of the training, as a checkpoint has it.
        image: seconds a training image.
        val: seconds an image of val.
        mib: peak of this process.
    """

    def __init__(
        self,
        network: nn.Module,
        side: int,
        config: TrainingConfig,
        *,
        num_train: int,
        num_val: int,
    ) -> None:
        """Train for about two seconds.

        Args:
            network: that is trained, in place.
            side: of the images before they are resized to the training's size, pixels.
            config: of the training.
            num_train: images of the real one, which decide the size of a batch.
            num_val: images that are scored after an epoch.
        """
        self._network, self._side = network, side
        batch = -(-num_train // count_parts(num_train, config.batch_size))  # as the loop cuts it
        self._run(replace(config, batch_size=2), batches=1, num_val=num_val, seconds=0)
        least, seconds = self.mib, self.image * batch
        size = max(2, min(batch, int(BATCH_SECONDS / self.image)))
        batches = _MOST_BATCHES
        if config.device == "cpu":  # two images say nothing of a GPU
            batches = max(1, min(batches, round(_EPOCH_SECONDS / seconds)))
        config = replace(config, batch_size=size)
        self._run(config, batches=batches, num_val=num_val, seconds=_EPOCH_SECONDS)
        if size > 2:
            self.mib += (self.mib - least) * (batch - size) / (size - 2)

    def _run(self, config: TrainingConfig, *, batches: int, num_val: int, seconds: float) -> None:
        """Train on; the first epoch is slow and does not count."""
        import numpy as np

        from components.core.training.loop import LabeledImages, fit

        classes, count = len(config.class_weights), batches * config.batch_size
        train, val = (
            LabeledImages(noise(number, self._side), np.arange(number) % classes)
            for number in (count, num_val)
        )
        ended, times = 0.0, []

        def after_batch(_done: int, _total: int) -> bool:
            nonlocal ended
            ended = time.perf_counter()
            return False

        first = started = time.perf_counter()
        with closing(fit(self._network, train, val, config, after_batch=after_batch)) as epochs:
            for epoch in epochs:
                now = time.perf_counter()
                times.append(((ended - started) / count, (now - ended) / num_val))
                if epoch.index > 1 and now - first > seconds:
                    break
                started = time.perf_counter()
            self.state = epoch.state
        self.image, self.val = (statistics.median(each) for each in zip(*times[1:], strict=True))
        self.mib = peak_mebibytes() - train.pixels.nbytes / 2**20
