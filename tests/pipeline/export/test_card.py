"""What the exported card says about the way from an image to the network's input."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from components.core.data.decoding import load_image
from pipeline.export.card import describe_preprocessing
from tests import factories
from tests.image_files import encode


def triangle(source: int, size: int, start: float, side: float) -> NDArray[np.float64]:
    """The weights of the filter as the card words it: (size, source), rows sum to 1."""
    scale = side / size
    radius = max(1.0, scale)
    centers = start + (np.arange(size)[:, None] + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(source) + 0.5 - centers) / radius, 0, None)
    normalized: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalized


@pytest.mark.parametrize("shape", [(75, 48), (48, 75), (20, 31), (300, 41)])
@pytest.mark.parametrize("resize_mode", ["crop", "pad", "stretch"])
def test_the_words_of_the_card_are_enough_to_make_the_same_pixels(
    shape: tuple[int, int], resize_mode: Literal["crop", "pad", "stretch"]
) -> None:
    images = factories.image_params(resize_mode=resize_mode, background=(9, 8, 7))
    card = factories.model_card(images=images, image_size=32)
    told = describe_preprocessing(card)
    assert told.resize_mode in ("crop", "pad", "stretch")
    size = told.size
    width, height = shape
    source = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    box, inner = (0.0, 0.0, width, height), (size, size)
    if told.resize_mode == "crop":
        side = min(shape)
        box = ((width - side) / 2, (height - side) / 2, side, side)
    if told.resize_mode == "pad":
        scale = size / max(shape)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    columns = triangle(width, inner[0], box[0], box[2])
    rows = triangle(height, inner[1], box[1], box[3])
    resized = np.einsum("jx,yxc->yjc", columns, source).round()
    resized = np.einsum("iy,yjc->ijc", rows, resized).round()
    expected = np.full((size, size, 3), told.background, float)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    expected[top : top + inner[1], left : left + inner[0]] = resized
    found = load_image(encode(Image.fromarray(source), "PNG"), size, images)
    assert np.abs(found - expected).max() <= 1
