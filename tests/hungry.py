"""Networks for which memory does not suffice: their allocator really refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from components.io import models


def let_memory_fail(monkeypatch: pytest.MonkeyPatch, *, most: int, first: int = 99) -> None:
    """Let networks that steps make have no memory to learn from more than `most` images at a time.

    Args:
        monkeypatch: undoes it.
        most: images that fit.
        first: so many networks are like that, and later ones are not.
    """
    create = models.create_model
    made: list[nn.Module] = []

    def refuse(_network: nn.Module, inputs: tuple[Tensor]) -> None:
        if torch.is_grad_enabled() and len(inputs[0]) > most:
            torch.empty(1 << 60, dtype=torch.uint8)

    def create_model(*arguments: Any) -> tuple[nn.Module, str]:
        network, initial = create(*arguments)
        if len(made) < first:
            network.register_forward_pre_hook(refuse)
        made.append(network)
        return network, initial

    monkeypatch.setattr(models, "create_model", create_model)
