"""The processes that train one network, by torch.distributed: NCCL between GPUs, gloo on CPUs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from components.core.training.parallel import ProcessGroup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.train.ranks import Rank

# A process that is slower than that is lost: the first has images to decode, and val to score.
_TIMEOUT = timedelta(minutes=30)

_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}


class DistributedGroup(ProcessGroup):
    """Several processes of this machine, each with a GPU of its own or a share of the cores."""

    def __init__(self, rank: Rank, device: str) -> None:
        """Meet the others.

        Args:
            rank: which process this is.
            device: cpu or cuda; rank k has GPU k of those that are visible.
        """
        self.rank, self.size = rank.number, rank.size
        if device == "cuda":
            torch.cuda.set_device(self.rank)
        else:
            torch.set_num_threads(max(1, torch.get_num_threads() // self.size))
        if sys.platform == "linux":  # a pod may not be able to look up its own name
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(
            _BACKENDS[device],
            init_method=f"file://{rank.meeting}",
            rank=self.rank,
            world_size=self.size,
            timeout=_TIMEOUT,
        )

    def synchronize(self, network: nn.Module) -> nn.Module:
        """PyTorch's SyncBatchNorm, whose kernels are for GPUs alone; on a CPU the same by hand."""
        synchronized: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        if next(network.parameters()).device.type == "cpu":
            for module in synchronized.modules():
                if isinstance(module, nn.SyncBatchNorm):
                    module.__class__ = _SyncBatchNormOnCpu
        return synchronized

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """One exchange for all: how it is cut into pieces must not depend on what went before."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        ends = np.cumsum([tensor.numel() for tensor in tensors])[:-1].tolist()
        for tensor, total in zip(tensors, flat.tensor_split(ends), strict=True):
            tensor.copy_(total.view_as(tensor))

    def gather(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """The parts of all processes behind each other, in every process."""
        parts: list[NDArray[np.float32]] = [part] * self.size
        dist.all_gather_object(parts, part)
        return np.concatenate(parts)

    def agree(self, wish: bool) -> bool:
        """The wish of rank 0; exchanged between the CPUs, so that no GPU is waited for."""
        answer = torch.tensor(wish)
        dist.broadcast(answer, 0)
        return bool(answer)


class _SyncBatchNormOnCpu(nn.SyncBatchNorm):
    """Ioffe and Szegedy 2015, algorithm 1, with mean and variance over all processes."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalize (B, C, H, W) by the statistics of the whole batch."""
        if not self.training:
            return super().forward(inputs)
        dims = [dim for dim in range(inputs.ndim) if dim != 1]
        shape = [1, -1, *[1] * (inputs.ndim - 2)]
        values = inputs.float()
        count = torch.tensor(float(inputs.numel() // inputs.shape[1]))
        dist.all_reduce(count)
        mean = _sum(values.sum(dims)) / count
        centered = values - mean.view(shape)
        variance = _sum(centered.square().sum(dims)) / count
        self._move_averages(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        normalized: Tensor = centered * scale.view(shape) + self.bias.view(shape)
        return normalized.to(inputs.dtype)

    def _move_averages(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is theirs, added up."""

    @staticmethod
    def forward(_context: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _sum(part: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(part)
    return total
