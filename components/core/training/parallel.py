"""Several processes that train one network: what they must agree on, and BatchNorm over all.

Each process has a share of every batch. Their gradients and losses are added up before each step of
the optimizer, so that all take the same one: that of a single process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

Items = TypeVar("Items")


class ProcessGroup:
    """A group of one process: it has the whole batch, and nobody to ask.

    Attributes:
        rank: number of this process, from 0, which saves and reports.
        size: number of processes.
    """

    rank = 0
    size = 1

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of rows that are to be divided; the parts are near-equal."""
        return np.array_split(rows, self.size)[self.rank]

    def synchronize(self, network: nn.Module) -> nn.Module:
        """The network with a BatchNorm that normalizes by the whole batch, not by a share."""
        return network

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, the same bits in each."""

    def gather(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """The parts of all processes behind each other, in every process."""
        return part

    def agree(self, wish: bool) -> bool:
        """The wish of rank 0, in every process."""
        return wish
