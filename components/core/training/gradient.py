"""The gradient of one batch, in as many parts as memory asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from components.core.training import memory
from components.core.training.parallel import ProcessGroup
from components.core.training.schedule import count_parts, derive_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.core.training.config import TrainingConfig

Notice = Callable[[str], None]

# BatchNorm cannot train on a single image of 1 x 1 features.
_SMALLEST = 2


class Gradient:
    """Forward and backward of a batch; the optimizer is not its business.

    If memory runs out, the batch is done again in micro-batches of half the size, whose gradients
    add up to that of the whole batch: each image counts in the loss as it would there, also where
    the last micro-batch is smaller and where classes have weights. So the optimizer takes the same
    steps, to rounding, but for two kinds of layers. BatchNorm normalizes each micro-batch by its
    own statistics, as a training with that batch size would (Hoffer et al. 2017, "ghost batch
    normalization"), and moves its running averages once for each. Dropout draws other masks.

    Of several processes each does its share of the batch, and they add up, too. There memory that
    runs out is an error: the others are waiting inside the network.

    Attributes:
        micro_batch_size: images at a time; from the first failure on it stays halved.
    """

    def __init__(
        self, network: nn.Module, config: TrainingConfig, notice: Notice, group: ProcessGroup
    ) -> None:
        """Start with whole batches.

        Args:
            network: logits (B, K) of standardized (B, 3, S, S), on the device.
            config: all settings.
            notice: told in one line when memory runs out.
            group: the processes that train.
        """
        import torch

        self.micro_batch_size = config.batch_size
        self._network, self._config, self._notice = network, config, notice
        self._group = group
        self._class_weights = torch.tensor(config.class_weights, device=config.device)

    def add(self, pixels: Tensor, labels: Tensor, *position: int) -> Tensor:
        """Add the gradient of the batch's mean loss to that of the parameters; nothing waits.

        Args:
            pixels: (B', S, S, 3) uint8, this process's share of the batch.
            labels: (B,) int64, of the whole batch.
            position: in the training; what is random in this batch follows from it and the seed.

        Returns:
            The loss, class-weighted and smoothed, on the device.
        """
        config = self._config
        seed = derive_seed(config.seed, *position)
        pixels, labels, changes = (
            tensor.to(config.device, non_blocking=True)
            for tensor in (pixels, labels, self._draw(len(labels), seed))
        )
        weight = self._class_weights[labels].sum()
        share = (pixels, self._own(labels), self._own(changes))
        self._network.train()
        while (loss := self._try(share, weight, seed)) is None:
            self._halve(len(pixels))
        gradients = [p.grad for p in self._network.parameters() if p.grad is not None]
        self._group.add_up([*gradients, loss])
        return loss

    def _own(self, tensor: Tensor) -> Tensor:
        """This process's share of a batch, as `ProcessGroup.share` divides."""
        return tensor.tensor_split(self._group.size)[self._group.rank]

    def _draw(self, count: int, seed: int) -> Tensor:
        """Random changes of each image."""
        import torch

        from components.core.training import augmentation

        config = self._config
        return augmentation.draw(
            count,
            config.augmentation,
            horizontal_flip=config.horizontal_flip,
            rotate_90=config.rotate_90,
            generator=torch.Generator().manual_seed(seed),
        )

    def _try(
        self, share: tuple[Tensor, Tensor, Tensor], weight: Tensor, seed: int
    ) -> Tensor | None:
        """The loss; None when memory ran out, and the network is as if nothing had happened."""
        import torch

        torch.manual_seed(seed + self._group.rank)  # for networks with dropout
        buffers = [buffer.clone() for buffer in self._network.buffers()]
        try:
            return self._accumulate(*share, weight)
        except (MemoryError, RuntimeError) as error:
            hopeless = self.micro_batch_size <= _SMALLEST or self._group.size > 1
            if hopeless or not memory.is_out_of_memory(error):
                raise
        # Only here, behind the error, is the memory of what failed free.
        self._network.zero_grad(set_to_none=True)
        for buffer, before in zip(self._network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        memory.release(self._config.device)
        return None

    def _accumulate(
        self, pixels: Tensor, labels: Tensor, changes: Tensor, weight: Tensor
    ) -> Tensor:
        """Sum of the images' losses over `weight`, that of all labels of the batch."""
        import torch
        from torch.nn import functional

        config = self._config
        loss = torch.zeros_like(weight)
        number = count_parts(len(labels), self.micro_batch_size)
        parts = (tensor.tensor_split(number) for tensor in (pixels, labels, changes))
        for images, targets, drawn in zip(*parts, strict=True):
            with torch.autocast(config.device, torch.bfloat16, config.precision == "bf16"):
                logits = self._network(self._augment(images, drawn))
            part = functional.cross_entropy(
                logits.float(),
                targets,
                self._class_weights,
                reduction="sum",
                label_smoothing=config.label_smoothing,
            )
            (part / weight).backward()  # type: ignore[no-untyped-call]
            loss += part.detach() / weight
        return loss

    def _augment(self, pixels: Tensor, changes: Tensor) -> Tensor:
        """Network input: normalized, at the size of the training, changed at random."""
        from components.core.training import augmentation

        config = self._config
        images = augmentation.resize(augmentation.normalize(pixels), config.image_size)
        return augmentation.augment(images, changes, config.augmentation)

    def _halve(self, count: int) -> None:
        """Go on with half of what did not fit into memory, for a batch of `count` images."""
        failed = min(self.micro_batch_size, count)
        self.micro_batch_size = max(math.ceil(failed / 2), _SMALLEST)
        self._notice(
            f"out of memory with {failed} images at a time: {self.micro_batch_size} from here on, "
            f"and their gradients are added up to steps of {self._config.batch_size}"
        )
