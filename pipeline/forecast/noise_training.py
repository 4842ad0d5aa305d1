"""A training on noise, as tune and train do it: its speed and its memory."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from components.core.training.schedule import count_parts
from components.io.data.cpus import usable_cpus
from pipeline.costs import peak_mebibytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from components.core.training.config import TrainingConfig

# Seconds of a batch that are worth its real size, and of all epochs after the first, about.
BATCH_SECONDS, _EPOCH_SECONDS = 1.5, 0.6
_MOST_BATCHES = 8  # an epoch
_LEAST = 4  # images of a batch, of which half is a batch, too


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
        self._run(config, 2, batches=1, num_val=num_val, seconds=0)
        size = min(batch, max(_LEAST, int(BATCH_SECONDS / self._effort)))
        batches = _MOST_BATCHES
        if config.device == "cpu":  # two images say nothing of a GPU
            batches = max(1, min(batches, round(_EPOCH_SECONDS / (self._effort * batch))))
        if size < batch:
            self._run(config, size // 2, batches=1, num_val=num_val, seconds=0)
        half = self.mib
        self._run(config, size, batches=batches, num_val=num_val, seconds=_EPOCH_SECONDS)
        self.mib += (self.mib - half) * (batch - size) / (size - size // 2)

    def _run(
        self, config: TrainingConfig, size: int, *, batches: int, num_val: int, seconds: float
    ) -> None:
        """Train on; the first epoch is slow and does not count."""
        import numpy as np

        from components.core.training.loop import LabeledImages, fit

        config = replace(config, batch_size=size)
        classes, count = len(config.class_weights), batches * size
        train, val = (
            LabeledImages(noise(number, self._side), np.arange(number) % classes)
            for number in (count, num_val)
        )
        ended, used, times = 0.0, 0.0, []

        def after_batch(_done: int, _total: int) -> bool:
            nonlocal ended, used
            ended, used = time.perf_counter(), time.process_time()
            return False

        first = started = time.perf_counter()
        unused = time.process_time()
        for epoch in fit(self._network, train, val, config, after_batch=after_batch):
            now = time.perf_counter()
            effort = (used - unused) / usable_cpus()
            times.append(((ended - started) / count, (now - ended) / num_val, effort / count))
            if epoch.index > 1 and now - first > seconds:
                break
            started, unused = time.perf_counter(), time.process_time()
        self.state = epoch.state
        warm = (statistics.median(each) for each in zip(*times[1:], strict=True))
        # The last is time of the processor, which busy neighbors change little.
        self.image, self.val, self._effort = warm
        self.mib = peak_mebibytes() - count * 3 * self._side**2 / 2**20
