"""Training images that lie on the GPU: batches are taken there, and no pixel is sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.core.training.prefetch import prefetch

if TYPE_CHECKING:
    from torch import Tensor

    from components.core.training.inference import ImageArray

# Of the free memory: the rest is for the network and what it computes.
_SHARE = 0.25

_IMAGES_AT_ONCE = 256


def free_memory(device: str) -> int:
    """Bytes that a device of its own memory has left; 0 for the CPU, where the images are already.

    Args:
        device: cpu or cuda.
    """
    if device == "cpu":
        return 0
    import torch

    return torch.cuda.mem_get_info()[0]


def move_images(pixels: ImageArray, device: str) -> Tensor | None:
    """All images on the device, (N, S, S, 3) uint8; None if they take more than a quarter of it.

    Args:
        pixels: N images; each is read once, also where they are decoded on every use.
        device: cpu or cuda.
    """
    import torch

    side = pixels[slice(0, 1)].shape[1]
    if len(pixels) * side * side * 3 > _SHARE * free_memory(device):
        return None
    moved = torch.empty((len(pixels), side, side, 3), dtype=torch.uint8, device=device)
    starts = range(0, len(pixels), _IMAGES_AT_ONCE)
    parts = prefetch(lambda start: pixels[start : start + _IMAGES_AT_ONCE], starts, device=device)
    for start, part in zip(starts, parts, strict=True):
        moved[start : start + len(part)] = torch.from_numpy(part)
    return moved
