"""The training loop: one generator of epochs, shared by tune and train.

    for epoch in fit(network, train, val, config):
        ...                      # tune reports it to the study; train logs and saves it

Exact resume needs no random-number states: the order of the images and the augmentation of each
batch are functions of (seed, epoch, batch). A state taken at any batch and passed back as `resume`
therefore continues bit for bit on the same machine with the same number of threads.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.errors import Diverged
from components.core.training.calibration import fit_temperature
from components.core.training.config import TrainingConfig
from components.core.training.gradient import Gradient, Notice
from components.core.training.inference import ImageArray, predict_logits
from components.core.training.memory import told
from components.core.training.parallel import ProcessGroup
from components.core.training.prefetch import prefetch
from components.core.training.resident import move_images
from components.core.training.schedule import learning_rate_at, shuffled_batches
from components.core.training.subset import Subset

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

State = dict[str, Any]
AfterBatch = Callable[[int, int], bool]

# Steps between two looks at the loss: a look waits for a GPU to finish all that it was given.
_STEPS_PER_CHECK = 8


@dataclass(frozen=True)
class LabeledImages:
    """Images with their class indices: labels is (N,) int64."""

    pixels: ImageArray
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Epoch:
    """One finished epoch. `state` holds live tensors: save it before asking for the next epoch."""

    index: int  # from 1
    learning_rate: float  # at the last step
    train_loss: float
    val_loss: float  # class-weighted, without smoothing, and overconfidence is forgiven: `score`
    val_accuracy: float
    best: bool  # least val_loss so far; on a tie the earlier epoch stays the best
    state: State = field(repr=False, compare=False)


class Stopped(Exception):
    """`after_batch` asked for a stop; `state` continues from here when passed as `resume`."""

    def __init__(self, state: State) -> None:
        super().__init__("stopped between two batches")
        self.state = state


def fit(
    network: nn.Module,
    train: LabeledImages,
    val: LabeledImages,
    config: TrainingConfig,
    *,
    resume: State | None = None,
    after_batch: AfterBatch | None = None,
    notice: Notice = lambda _text: None,
    group: ProcessGroup | None = None,
) -> Iterator[Epoch]:
    """Train `network` in place and yield after every epoch.

    Args:
        network: logits (B, K) of standardized (B, 3, S, S).
        train: images to learn from.
        val: images to choose the best epoch by.
        config: all settings.
        resume: the `state` of an `Epoch` or a `Stopped` of the same settings and data.
        after_batch: called with (batches done, batches in this epoch); True asks for a stop.
        notice: told in one line when memory runs out and smaller micro-batches go on.
        group: the processes that train, all with equal arguments; None = this one alone.

    Yields:
        One `Epoch` per epoch, until the last or early stopping.

    Raises:
        Diverged: the training or val loss is NaN or infinite.
        OutOfMemory: it does not fit into memory, whatever the size of the micro-batches.
        Stopped: `after_batch` returned True.
    """
    with told(config.image_size):
        loop = _Loop(network, train, val, config, notice, group or ProcessGroup())
        if resume is not None:
            loop.restore(resume)
    while loop.epoch < config.epochs and loop.patience_left():
        with told(config.image_size):
            epoch = loop.run_epoch(after_batch)
        yield epoch


class _Loop:
    """The moving parts of one training."""

    def __init__(
        self,
        network: nn.Module,
        train: LabeledImages,
        val: LabeledImages,
        config: TrainingConfig,
        notice: Notice,
        group: ProcessGroup,
    ) -> None:
        import torch
        from torch.optim import swa_utils

        from components.core.training.architectures import param_groups_weight_decay

        self.config, self.train, self.val, self.group = config, train, val, group
        network = network.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = group.synchronize(network)
        self.optimizer = torch.optim.AdamW(
            param_groups_weight_decay(self.network, config.weight_decay),
            lr=config.learning_rate,
            fused=True,
        )
        self.ema: swa_utils.AveragedModel | None = None
        if config.ema_decay:
            average = swa_utils.get_ema_multi_avg_fn(config.ema_decay)  # type: ignore[no-untyped-call]
            self.ema = swa_utils.AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self.moved = move_images(train.pixels, config.device)
        self.gradient = Gradient(self.network, config, notice, group)
        self.epoch = 0  # finished epochs
        self.batch = 0  # finished batches of the epoch under way
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=config.device)
        self.best: State = {"epoch": 0, "val_loss": math.inf, "network": {}}

    def patience_left(self) -> bool:
        """Whether early stopping lets another epoch run.

        Patience counts from the middle of the schedule. Before it the learning rate is high and the
        val loss jumps, while the best epochs of a rate that falls to zero are among the last.
        """
        without_gain = self.epoch - max(self.best["epoch"], self.config.epochs // 2)
        return bool(without_gain < self.config.early_stopping)

    def run_epoch(self, after_batch: AfterBatch | None) -> Epoch:
        """Train on the batches that are left of the epoch under way, then score it."""
        config, number = self.config, self.epoch + 1
        batches = shuffled_batches(len(self.train.labels), config.batch_size, config.seed, number)
        total = config.epochs * len(batches)
        left = prefetch(self.read, batches[self.batch :], device=config.device)
        with closing(left):
            for index, (pixels, labels) in enumerate(left, start=self.batch):
                rate = learning_rate_at(
                    self.epoch * len(batches) + index,
                    total,
                    config.learning_rate,
                    config.warmup_fraction,
                )
                self.step(pixels, labels, rate, index)
                self.batch = index + 1
                if self.batch % _STEPS_PER_CHECK == 0 or self.batch == len(batches):
                    self.train_loss()
                wish = after_batch is not None and after_batch(self.batch, len(batches))
                if self.group.agree(wish):
                    self.train_loss()
                    raise Stopped(self.state())
        return self.close_epoch()

    def read(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels of this process's share of these rows, and the labels of all, ready to be sent.

        Runs in a thread, too.
        """
        import torch

        share, labels = self.group.share(rows), torch.from_numpy(self.train.labels[rows])
        if self.moved is not None:
            return self.moved[torch.from_numpy(share).to(self.moved.device)], labels
        pixels = torch.from_numpy(self.train.pixels[share])
        if self.config.device == "cuda":  # from pinned memory, without waiting
            return pixels.pin_memory(), labels.pin_memory()
        return pixels, labels

    def step(self, pixels: Tensor, labels: Tensor, rate: float, index: int) -> None:
        """One batch: forward, backward, update; nothing here waits for the device."""
        loss = self.gradient.add(pixels, labels, self.epoch + 1, index)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.network)
        self.loss_sum += loss.double() * len(labels)

    def train_loss(self) -> float:
        """Sum of the epoch's losses so far; raises `Diverged` unless it is finite."""
        return _finite(float(self.loss_sum), "train", self.epoch + 1)

    def close_epoch(self) -> Epoch:
        """Score the val split, remember the best weights, move on to the next epoch."""
        network = self.network if self.ema is None else self.ema.module
        loss, accuracy = self.score(network)
        best = loss < self.best["val_loss"]
        self.epoch += 1
        if best:
            weights = copy.deepcopy(network.state_dict())
            self.best = {"epoch": self.epoch, "val_loss": loss, "network": weights}
        mean = self.train_loss() / len(self.train.labels)
        # Read back: a training resumed after its last batch runs no step that would set it.
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.batch = 0
        self.loss_sum.zero_()
        return Epoch(self.epoch, rate, mean, loss, accuracy, best, self.state())

    def score(self, network: nn.Module) -> tuple[float, float]:
        """Class-weighted log loss and accuracy on the val split; overconfidence is forgiven.

        Networks that learn small data by heart become ever surer of themselves: their plain log
        loss rises while they still get better at telling the classes apart. One number mends that
        afterwards, so the loss is that at the fitted temperature wherever it is above 1. Below 1
        the plain loss stays: once all of a small val split is right, it alone tells epochs apart.

        Source: Berta et al. 2025, "Rethinking Early Stopping: Refine, Then Calibrate".
        """
        import torch
        from torch.nn import functional

        config = self.config
        rows = self.group.share(np.arange(len(self.val.labels)))
        logits = predict_logits(
            network,
            Subset(self.val.pixels, rows),
            device=config.device,
            precision=config.precision,
            image_size=config.image_size,
        )
        logits = self.group.gather(logits)
        labels = torch.from_numpy(self.val.labels)
        temperature = max(1.0, fit_temperature(logits, self.val.labels))
        weights = torch.tensor(config.class_weights)
        loss = functional.cross_entropy(torch.from_numpy(logits) / temperature, labels, weights)
        accuracy = float((logits.argmax(axis=1) == self.val.labels).mean())
        return _finite(float(loss), "val", self.epoch + 1), accuracy

    def state(self) -> State:
        """All that `restore` needs; tensors are live, not copied."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "epoch": self.epoch,
            "batch": self.batch,
            "loss_sum": float(self.loss_sum),
            "micro_batch_size": self.gradient.micro_batch_size,
            "best": self.best,
        }

    def restore(self, state: State) -> None:
        """Go on from a `state`, of this process or of an earlier one."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.loss_sum.fill_(state["loss_sum"])
        self.gradient.micro_batch_size = state["micro_batch_size"]
        self.best = state["best"]


def _finite(loss: float, split: str, epoch: int) -> float:
    if not math.isfinite(loss):
        raise Diverged(
            f"training: the {split} loss is {loss} in epoch {epoch}; use a lower "
            "train.learning_rate, or check the images for unusual values."
        )
    return loss
