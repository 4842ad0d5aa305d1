"""Pixels to network input, and augmentation of whole batches.

Augmentation has two halves. `draw` makes the random numbers of a batch on the CPU, from the
generator that is passed in: equal on every device, a few numbers for each image. `augment` applies
them where the batch is, after the one float conversion: a random affine transform (crop, rotation,
flip) in a single resampling, then color, then erasing. An image's changes do not depend on the
images beside it, so any part of a batch is augmented as it would be in the whole.
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

    # Sent without waiting for what the device still has to do.
    mean, std = (
        (torch.tensor(of) * 255).to(pixels.device, non_blocking=True) for of in (MEAN, STD)
    )
    return (pixels.to(torch.float32).sub_(mean).div_(std)).permute(0, 3, 1, 2)


def resize(batch: Tensor, size: int) -> Tensor:
    """Shrink (N, 3, S, S) to `size` by averaging areas; unchanged when it has that size."""
    from torch.nn import functional

    if batch.shape[-1] == size:
        return batch
    return functional.interpolate(batch, size=(size, size), mode="area")


def draw(
    count: int,
    level: Augmentation,
    *,
    horizontal_flip: bool,
    rotate_90: bool,
    generator: Generator,
) -> Tensor:
    """Random changes of `count` images, (N, 13) float32 on the CPU; row i is all of image i.

    Args:
        count: N.
        level: a key of `AUGMENTATIONS`.
        horizontal_flip: also mirror every second image, left to right.
        rotate_90: also rotate by 90, 180 or 270 degrees.
        generator: CPU generator; equal states give equal results.
    """
    import torch

    settings = AUGMENTATIONS[level]
    affine = _draw_affine(count, settings, horizontal_flip, rotate_90, generator)
    jitter = settings.color_jitter
    color = [_uniform(count, -jitter, jitter, generator) for _ in ("gain", "shift")]
    chosen = (torch.rand(count, generator=generator) < settings.erase).float()
    side = _uniform(2 * count, 0.1, 0.5, generator).view(count, 2)
    start = torch.rand(count, 2, generator=generator) * (1 - side)
    columns = (1 + color[0], color[1], chosen)
    return torch.cat([affine, torch.stack(columns, dim=1), start, start + side], dim=1)


def augment(batch: Tensor, changes: Tensor, level: Augmentation) -> Tensor:
    """Change each image of a standardized batch (N, 3, S, S); the shape stays.

    Args:
        batch: output of `normalize`, on any device.
        changes: (N, 13) of `draw`, on that device.
        level: that `changes` were drawn for; "none" changes nothing.
    """
    if level == "none":
        return batch
    affine, gain, shift, chosen, start, end = changes.tensor_split((6, 7, 8, 9, 11), dim=1)
    batch = _random_affine(batch, affine.reshape(-1, 2, 3))
    batch = _color_jitter(batch, gain, shift)
    return _random_erasing(batch, chosen, start, end) if AUGMENTATIONS[level].erase else batch


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    import torch

    return torch.rand(count, generator=generator) * (high - low) + low


def _draw_affine(
    count: int,
    settings: AugmentationConfig,
    horizontal_flip: bool,
    rotate_90: bool,
    generator: Generator,
) -> Tensor:
    """Random maps from output to input coordinates in [-1, 1]: (N, 6), each the rows of a 2 x 3."""
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
    return torch.stack(rows, dim=1)


def _random_affine(batch: Tensor, affine: Tensor) -> Tensor:
    import torch
    from torch.nn import functional

    grid = functional.affine_grid(affine, list(batch.shape), align_corners=False)
    out = functional.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)
    return out.contiguous(memory_format=torch.channels_last)


def _color_jitter(batch: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Scale contrast around each image's mean and shift its brightness."""
    mean = batch.mean(dim=(1, 2, 3), keepdim=True)
    return (batch - mean) * gain[:, :, None, None] + mean + shift[:, :, None, None]


def _random_erasing(batch: Tensor, chosen: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Blank one rectangle of up to half the side in some images (0 = the average color)."""
    import torch

    size = batch.shape[-1]
    at = torch.arange(size, device=batch.device)
    inside = (at >= start[..., None] * size) & (at < end[..., None] * size)  # (N, 2, S)
    hole = inside[:, 0, :, None] & inside[:, 1, None, :] & (chosen[..., None] > 0)
    # In place, on `_color_jitter`'s fresh tensor: masked_fill would lose channels_last.
    return batch.masked_fill_(hole[:, None], 0.0)
