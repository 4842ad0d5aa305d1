"""What a network makes of an image before it decides: its features, and images that are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.core.training import inference
from components.core.training.architectures import head_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from components.core.training.inference import ImageArray


def extract(
    network: nn.Module, architecture: str, pixels: ImageArray, *, device: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, D), the input of the network's last layer, and logits (N, K).

    Args:
        network: maps standardized (B, 3, S, S) to (B, K); is put into eval mode.
        architecture: its name.
        pixels: N images, at least one.
        device: where the network lives.
    """
    seen: list[NDArray[np.float32]] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].float().cpu().numpy())

    head = network.get_submodule(head_name(architecture))
    hook = head.register_forward_pre_hook(note)
    try:
        logits = inference.predict_logits(network, pixels, device=device)
    finally:
        hook.remove()
    return np.concatenate(seen), logits


def nearest(
    features: NDArray[np.float32], others: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `count` most similar of `others` (M, D) to one image's features (D,), most similar first.

    Returns:
        Their indices, and their cosine similarities in [-1, 1].
    """
    norms = np.linalg.norm(others, axis=1) * np.linalg.norm(features)
    similarity = (others @ features) / np.maximum(norms, np.finfo(np.float32).tiny)
    order = np.argsort(-similarity, kind="stable")[:count]
    return order, similarity[order]
