"""What a person sees while epochs run: a bar on a terminal, one line per epoch everywhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Never

from components.io.process import Stop

if TYPE_CHECKING:
    from tqdm import tqdm

    from components.core.training.config import TrainingConfig
    from components.core.training.loop import Epoch


class Progress:
    """Clock and printer of one training."""

    def __init__(self, title: str, config: TrainingConfig, images: int, stop: Stop) -> None:
        self._title, self._config, self._images, self._stop = title, config, images, stop
        self._epoch_started = self._last_batch = time.monotonic()
        self._seconds = self._epochs = 0.0
        self._share = 0.0  # of the epoch under way; after a resume it stays below 1
        self._bar: tqdm[Never] | None = None

    @property
    def stopped(self) -> bool:
        """Whether a signal asked for a stop."""
        return bool(self._stop)

    def after_batch(self, done: int, total: int) -> bool:
        """Move the bar; True when a signal asked for a stop. Passed to `fit`."""
        from tqdm import tqdm

        if self._bar is None:  # disable=None: only on a terminal
            self._bar = tqdm(total=total, desc=self._title, leave=False, disable=None)
        self._bar.update(done - self._bar.n)
        self._share += 1 / total
        self._last_batch = time.monotonic()
        return self.stopped

    def report(self, epoch: Epoch) -> float:
        """Print the epoch's line; return training images per second (validation not counted)."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        now = time.monotonic()
        rate = self._images * self._share / max(self._last_batch - self._epoch_started, 1e-9)
        self._seconds += now - self._epoch_started
        self._epochs += self._share or 1.0
        print(
            f"{self._title:<9} epoch {epoch.index}/{self._config.epochs}  "
            f"train/loss {epoch.train_loss:.3f}  val/loss {epoch.val_loss:.3f}  "
            f"val/accuracy {epoch.val_accuracy:.3f}  {now - self._epoch_started:.0f} s  "
            f"{rate:.0f} img/s  {self._left(epoch.index)}{'  [best]' if epoch.best else ''}",
            flush=True,
        )
        self._epoch_started = self._last_batch = now
        self._share = 0.0
        return rate

    def note(self, text: str) -> None:
        """Print a line about this training; the bar is drawn anew behind it."""
        if self._bar is not None:
            self._bar.clear()
        print(f"{self._title:<9} {text}", flush=True)

    def _left(self, done: int) -> str:
        """Time left, if the epochs to come take as long as those of this process."""
        left = self._config.epochs - done
        if not left:
            return "done"
        seconds = self._seconds / self._epochs * left
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"
