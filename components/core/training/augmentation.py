"""Pixels to network input, and augmentation of whole batches.

Augmentation runs on the batch after the one float conversion: a random affine transform (crop,
rotation, flip) in a single resampling, then color, then erasing. All randomness comes from the
generator that is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.training.presets import Augmentation

if TYPE_CHECKING:
    from torch import Generator, Tensor

# ImageNet channel statistics (torchvision's weight recipes); kept for random weights too, so that
# switching `model.weights` does not change the input.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class AugmentationConfig:
    """How far augmentation goes. Areas are shares, probabilities in [0, 1]."""

    min_crop: float  # smallest share of the image's area that a crop keeps
    max_stretch: float  # largest stretch of width against height, as a factor >= 1
    max_degrees: float  # largest rotation, either way
    color_jitter: float  # largest relative change of brightness and contrast
    erase: float  # probability of a blanked rectangle (Zhong et al. 2017, "Random Erasing")


AUGMENTATIONS: dict[Augmentation, AugmentationConfig] = {
    "none": AugmentationConfig(1.0, 1.0, 0.0, 0.0, 0.0),
    "light": AugmentationConfig(0.7, 1.1, 0.0, 0.1, 0.0),
    "standard": AugmentationConfig(0.5, 1.2, 10.0, 0.2, 0.0),
    "heavy": AugmentationConfig(0.35, 1.33, 20.0, 0.3, 0.15),
    "maximum": AugmentationConfig(0.25, 1.33, 30.0, 0.4, 0.3),
}


def normalize(pixels: Tensor) -> Tensor:
    """uint8 (N, S, S, 3) in 0..255 -> float32 (N, 3, S, S), standardized, channels_last in memory.

    The permuted view of row-major pixels already is channels_last: nothing is copied but the
    conversion itself.
    """
    import torch

    mean, std = (_send(torch.tensor(of) * 255, pixels) for of in (MEAN, STD))
    return (pixels.to(torch.float32).sub_(mean).div_(std)).permute(0, 3, 1, 2)


def resize(batch: Tensor, size: int) -> Tensor:
    """Shrink (N, 3, S, S) to `size` by averaging areas; unchanged when it has that size."""
    from torch.nn import functional

    if batch.shape[-1] == size:
        return batch
    return functional.interpolate(batch, size=(size, size), mode="area")


def augment(
    batch: Tensor,
    level: Augmentation,
    *,
    horizontal_flip: bool,
    rotate_90: bool,
    generator: Generator,
) -> Tensor:
    """Randomly change each image of a standardized batch (N, 3, S, S); the shape stays.

    Args:
        batch: output of `normalize`, on any device.
        level: a key of `AUGMENTATIONS`; "none" changes nothing.
        horizontal_flip: also mirror every second image, left to right.
        rotate_90: also rotate by 90, 180 or 270 degrees.
        generator: CPU generator; equal states give equal results.
    """
    if level == "none":
        return batch
    settings = AUGMENTATIONS[level]
    batch = _random_affine(
        batch, _affine(len(batch), settings, horizontal_flip, rotate_90, generator)
    )
    batch = _color_jitter(batch, settings, generator)
    return _random_erasing(batch, settings, generator) if settings.erase else batch


def _send(drawn: Tensor, batch: Tensor) -> Tensor:
    """`drawn` on the device of `batch`, without waiting for what the device still has to do."""
    return drawn.to(batch.device, non_blocking=True)


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    import torch

    return torch.rand(count, generator=generator) * (high - low) + low


def _affine(
    count: int,
    settings: AugmentationConfig,
    horizontal_flip: bool,
    rotate_90: bool,
    generator: Generator,
) -> Tensor:
    """Random (N, 2, 3) maps from output to input coordinates in [-1, 1]."""
    import torch

    area = _uniform(count, settings.min_crop, 1.0, generator)
    log_stretch = math.log(settings.max_stretch)
    stretch = torch.exp(_uniform(count, -log_stretch, log_stretch, generator) / 2)
    width = (area.sqrt() * stretch).clamp(max=1.0)
    height = (area.sqrt() / stretch).clamp(max=1.0)
    flipped = torch.rand(count, generator=generator) < (0.5 if horizontal_flip else 0.0)
    mirror = torch.where(flipped, -1.0, 1.0)
    angle = torch.deg2rad(_uniform(count, -settings.max_degrees, settings.max_degrees, generator))
    if rotate_90:
        angle = angle + torch.randint(4, (count,), generator=generator) * (math.pi / 2)
    # The crop's center may move only as far as the crop stays inside the image.
    x = _uniform(count, -1.0, 1.0, generator) * (1 - width)
    y = _uniform(count, -1.0, 1.0, generator) * (1 - height)
    cosine, sine = angle.cos(), angle.sin()
    rows = (mirror * width * cosine, -width * sine, x, mirror * height * sine, height * cosine, y)
    return torch.stack(rows, dim=1).view(count, 2, 3)


def _random_affine(batch: Tensor, affine: Tensor) -> Tensor:
    import torch
    from torch.nn import functional

    grid = functional.affine_grid(_send(affine, batch), list(batch.shape), align_corners=False)
    out = functional.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)
    return out.contiguous(memory_format=torch.channels_last)


def _color_jitter(batch: Tensor, settings: AugmentationConfig, generator: Generator) -> Tensor:
    """Scale contrast around each image's mean and shift its brightness."""
    count = len(batch)
    gain = 1 + _uniform(count, -settings.color_jitter, settings.color_jitter, generator)
    shift = _uniform(count, -settings.color_jitter, settings.color_jitter, generator)
    gain, shift = (_send(t, batch).view(-1, 1, 1, 1) for t in (gain, shift))
    mean = batch.mean(dim=(1, 2, 3), keepdim=True)
    return (batch - mean) * gain + mean + shift


def _random_erasing(batch: Tensor, settings: AugmentationConfig, generator: Generator) -> Tensor:
    """Blank one rectangle of up to half the side in some images (0 = the average color)."""
    import torch

    count, _, size, _ = batch.shape
    chosen = torch.rand(count, generator=generator) < settings.erase
    side = _uniform(2 * count, 0.1, 0.5, generator).view(2, count) * size
    start = torch.rand(2, count, generator=generator) * (size - side)
    at = torch.arange(size)
    inside = (at >= start[..., None]) & (at < (start + side)[..., None])  # (2, N, S)
    hole = inside[0, :, :, None] & inside[1, :, None, :] & chosen[:, None, None]
    # In place, on `_color_jitter`'s fresh tensor: masked_fill would lose channels_last.
    return batch.masked_fill_(_send(hole[:, None], batch), 0.0)
