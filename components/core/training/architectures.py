"""Networks by name, their initial weights, and the optimizer's groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.core.errors import InvalidParams

if TYPE_CHECKING:
    from torch import Tensor, nn

Architecture = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v3_small", "vit_b_16"
]

# The last linear layer of each family: replaced for the classes at hand, never loaded.
_HEADS = {"resnet": "fc", "mobilenet": "classifier.3", "vit": "heads.head"}

# vit_b_16 has one embedding per 16x16 patch of exactly this size.
_VIT_SIZE = 224


class ModelParams(BaseModel):
    """Section `model` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = Field(description="Network of torchvision, by its name there.")
    weights: str = Field(
        min_length=1,
        description="Initial weights: imagenet, random, or path of a .safetensors or .pth file.",
    )
    image_size: int = Field(
        ge=32, le=1024, multiple_of=16, description="Side of the square network input, pixels."
    )


def head_name(architecture: str) -> str:
    """Dotted name of the layer that maps features to classes."""
    return next(name for family, name in _HEADS.items() if architecture.startswith(family))


def build_network(architecture: str, num_classes: int) -> nn.Module:
    """A network with random weights in channels_last layout. (N, 3, S, S) -> logits (N, K)."""
    import torch
    from torchvision import models

    network: nn.Module = models.get_model(architecture, weights=None, num_classes=num_classes)
    return network.to(memory_format=torch.channels_last)


def require_size(architecture: str, image_size: int) -> None:
    """Raise `InvalidParams` when the network cannot take this input size."""
    if architecture.startswith("vit") and image_size != _VIT_SIZE:
        raise InvalidParams(
            f"params.yaml: {architecture} takes images of exactly {_VIT_SIZE} px, not "
            f"{image_size}; set model.image_size and tune.image_size to {_VIT_SIZE}."
        )


def load_backbone(network: nn.Module, state: Mapping[str, Tensor], architecture: str) -> None:
    """Copy all weights but the head's from `state` into `network`.

    The state dict must fit: every backbone tensor present, of the same shape, and nothing else but
    a head. Raises `InvalidParams` that names the first mismatch.
    """
    head = head_name(architecture) + "."
    expected = {k: v for k, v in network.state_dict().items() if not k.startswith(head)}
    given = {k: v for k, v in state.items() if not k.startswith(head)}
    for name in sorted(expected.keys() | given.keys()):
        problem = _mismatch(expected.get(name), given.get(name))
        if problem:
            raise InvalidParams(
                f"params.yaml: model.weights: {name} {problem}; these are not the weights of "
                f"{architecture}. Set model.architecture to match the file."
            )
    network.load_state_dict({**network.state_dict(), **given})


def _mismatch(expected: Tensor | None, given: Tensor | None) -> str:
    if given is None:
        return "is missing in the file"
    if expected is None:
        return "is unknown to the network"
    if expected.shape != given.shape:
        return f"has shape {tuple(given.shape)}, not {tuple(expected.shape)}"
    return ""


def param_groups_weight_decay(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Optimizer groups: weight decay for matrices and kernels only, not for norms and biases.

    Source: He et al. 2019, "Bag of Tricks for Image Classification", section 3.1 (no bias decay).
    """
    decay = [p for p in network.parameters() if p.ndim > 1]
    no_decay = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
    ]
