"""Equal pixels have equal digests; pictures that look alike have hashes that are close."""

import hashlib
import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from components.core.fingerprints import perceptual_hash, pixel_digest


def test_the_pixel_digest_covers_size_and_colour() -> None:
    picture = Image.new("RGB", (2, 1), (1, 2, 3))
    wanted = hashlib.sha256(struct.pack("<2I", 2, 1) + bytes([1, 2, 3, 1, 2, 3])).hexdigest()
    assert pixel_digest(picture) == wanted
    assert pixel_digest(Image.new("RGB", (1, 2), (1, 2, 3))) != wanted


def test_grey_has_one_digest_whether_it_is_stored_as_grey_or_as_colour() -> None:
    grey = Image.linear_gradient("L")
    assert pixel_digest(grey) == pixel_digest(grey.convert("RGB"))
    tinted = grey.convert("RGB")
    tinted.putpixel((200, 100), (100, 100, 101))
    assert pixel_digest(tinted) != pixel_digest(grey)


def test_grey_has_one_hash_whether_it_is_stored_as_grey_or_as_colour() -> None:
    grey = scene(3).convert("L")
    assert perceptual_hash(grey) == perceptual_hash(grey.convert("RGB"))


def bits(one: Image.Image, other: Image.Image) -> int:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(other), 16)).bit_count()


def jpeg(picture: Image.Image) -> BytesIO:
    file = BytesIO()
    picture.save(file, "JPEG", quality=60)
    return file


def scene(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((300, 300), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.resize((200, 200)),
        lambda p: p.point(lambda value: min(255, value + 12)),
        lambda p: Image.open(jpeg(p)).convert("RGB"),
    ],
)
def test_alike_pictures_have_alike_hashes(change: Callable[[Image.Image], Image.Image]) -> None:
    assert bits(scene(1), change(scene(1))) <= 6
    assert bits(scene(1), scene(2)) >= 16


def test_the_hash_is_sixteen_hex_digits_and_flat_pictures_have_no_bits() -> None:
    assert len(perceptual_hash(scene(1))) == 16
    for level in (0, 77, 255):
        assert perceptual_hash(Image.new("RGB", (50, 40), (level,) * 3)) == "0" * 16


def test_a_horizontal_ramp_excites_only_the_constant_row() -> None:
    ramp = Image.linear_gradient("L").convert("RGB")
    assert perceptual_hash(ramp) == "0" * 16
