"""Pixels to logits to calibrated probabilities, and the choice of device and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from components.core.errors import InvalidParams
from components.core.training import memory
from components.core.training.prefetch import prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]

# Pixels in one forward pass: 64 images of 128 x 128, some 130 MiB in a ResNet's first layers.
_PIXELS_AT_ONCE = 1 << 20


class ImageArray(Protocol):
    """Square images that can be read many at a time."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Images at `index`: (B, S, S, 3) uint8."""


def resolve_device(device: Device) -> str:
    """The device to run on. "cuda" without a usable GPU raises `InvalidParams`."""
    if device == "cpu":  # known without torch, which takes a second to import
        return device
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InvalidParams(
            "params.yaml: training.device is cuda, but no usable GPU was found; set it to auto or "
            "cpu, or fix the driver."
        )
    return "cuda" if available else "cpu"


def resolve_precision(precision: Precision, device: str, architecture: str) -> str:
    """The number format for training: bf16 where the hardware computes it, else fp32.

    Chosen by what the hardware can do, not by timing: a stopwatch would make two runs differ.
    Depthwise convolutions (mobilenet) train slower in bf16 on CPUs that have it.
    """
    if precision != "auto":
        return precision
    import torch

    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    can = torch.cpu.get_capabilities()
    native = can.get("avx512_bf16") or can.get("amx_bf16")
    return "bf16" if native and not architecture.startswith("mobilenet") else "fp32"


def predict_logits(
    network: nn.Module,
    pixels: ImageArray,
    *,
    device: str,
    precision: str = "fp32",
    image_size: int | None = None,
    batch_size: int | None = None,
) -> NDArray[np.float32]:
    """Logits (N, K) of all images, in order. The network is put into eval mode.

    Args:
        network: maps standardized (B, 3, S, S) to (B, K).
        pixels: N images.
        device: where the network lives.
        precision: fp32 for every number that is kept; bf16 is for the epochs of training.
        image_size: shrink the images to this side first; None = as they are.
        batch_size: images per forward pass, None = what memory allows at any image size; where
            it does not, half as many. It does not change the result beyond rounding.
    """
    import torch

    network.eval()
    batch_size = batch_size or max(1, _PIXELS_AT_ONCE // pixels[slice(0, 1)].shape[1] ** 2)
    starts, parts = range(0, len(pixels), batch_size), []

    def read(start: int) -> NDArray[np.uint8]:
        return pixels[start : start + batch_size]

    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, precision == "bf16"):
        for images in prefetch(read, starts, device=device):
            parts += _forward(network, torch.from_numpy(images).to(device), image_size)
        return np.asarray(torch.cat(parts).cpu().numpy())


def _forward(network: nn.Module, pixels: Tensor, image_size: int | None) -> list[Tensor]:
    """Logits of all images, in as many parts as memory asks for."""
    from components.core.training import augmentation

    try:
        batch = augmentation.normalize(pixels)
        if image_size is not None:
            batch = augmentation.resize(batch, image_size)
        return [network(batch).float()]
    except (MemoryError, RuntimeError) as error:
        if not memory.is_out_of_memory(error) or len(pixels) == 1:
            raise
    memory.release(pixels.device.type)
    halves = pixels.tensor_split(2)
    return [logits for half in halves for logits in _forward(network, half, image_size)]


def probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Softmax of logits / temperature: (N, K), rows sum to 1."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
