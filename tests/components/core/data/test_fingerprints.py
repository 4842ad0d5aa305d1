"""Equal pixels have equal digests; near duplicates have close fingerprints."""

import hashlib
import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from components.core.data.fingerprints import (
    FINGERPRINT_SHAPE,
    fingerprint,
    mirrored_bits,
    perceptual_hash,
    pixel_digest,
)


def test_the_pixel_digest_covers_size_and_color() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    expected = hashlib.sha256(struct.pack("<2I", 2, 1) + bytes([1, 2, 3, 1, 2, 3])).hexdigest()
    assert pixel_digest(image) == expected
    assert pixel_digest(Image.new("RGB", (1, 2), (1, 2, 3))) != expected


def test_gray_has_one_digest_whether_it_is_stored_as_gray_or_as_color() -> None:
    gray = Image.linear_gradient("L")
    assert pixel_digest(gray) == pixel_digest(gray.convert("RGB"))
    tinted = gray.convert("RGB")
    tinted.putpixel((200, 100), (100, 100, 101))
    assert pixel_digest(tinted) != pixel_digest(gray)


def test_gray_has_one_fingerprint_whether_it_is_stored_as_gray_or_as_color() -> None:
    gray = scene(3).convert("L")
    assert np.array_equal(fingerprint(gray), fingerprint(gray.convert("RGB")))


def bits(one: Image.Image, other: Image.Image) -> int:
    return int(np.bitwise_count(fingerprint(one)[0, 0] ^ fingerprint(other)[0, 0]))


def agreement(one: Image.Image, other: Image.Image) -> float:
    """Share of equal bits in the sketches of the whole images."""
    return (
        1
        - float(np.bitwise_count(fingerprint(one)[0, 1:] ^ fingerprint(other)[0, 1:]).sum()) / 4096
    )


def jpeg(image: Image.Image) -> BytesIO:
    file = BytesIO()
    image.save(file, "JPEG", quality=60)
    return file


def scene(seed: int, size: tuple[int, int] = (300, 300)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.resize((200, 200)),
        lambda p: p.resize((900, 700)),
        lambda p: p.point(lambda value: min(255, value + 12)),
        lambda p: Image.open(jpeg(p)).convert("RGB"),
    ],
)
def test_near_duplicates_have_close_fingerprints(
    change: Callable[[Image.Image], Image.Image],
) -> None:
    assert bits(scene(1), change(scene(1))) <= 6
    assert bits(scene(1), scene(2)) >= 16
    assert agreement(scene(1), change(scene(1))) > 0.9
    assert 0.4 < agreement(scene(1), scene(2)) < 0.6


@pytest.mark.parametrize("cut", [0, 6, 12, 18])
def test_a_cropped_image_is_close_to_a_view_of_the_original(cut: int) -> None:
    whole = fingerprint(scene(4, (400, 400)))
    inside = fingerprint(scene(4, (400, 400)).crop((cut, cut, 400 - cut, 400 - cut)))
    counts = np.bitwise_count(whole[:, 1:] ^ inside[0, 1:]).sum(axis=1) / 4096
    assert min(counts) < 0.05
    assert int(np.argmin(counts)) == cut // 6


def test_flat_images_have_no_bits() -> None:
    for level in (0, 77, 255):
        found = fingerprint(Image.new("RGB", (50, 40), (level,) * 3))
        assert found.shape == FINGERPRINT_SHAPE
        assert found.dtype == np.uint64
        assert not found.any()


def test_the_hash_is_sixteen_hex_digits_of_the_whole_image() -> None:
    found = fingerprint(scene(1))
    assert len(perceptual_hash(found)) == 16
    assert int(perceptual_hash(found), 16) == int(found[0, 0])
    assert perceptual_hash(np.array([[10]], dtype=np.uint64)) == "000000000000000a"


def test_a_horizontal_ramp_excites_only_the_constant_row() -> None:
    ramp = Image.linear_gradient("L").convert("RGB")
    assert perceptual_hash(fingerprint(ramp)) == "0" * 16


def test_the_hash_of_a_mirrored_image_is_known_without_computing_it() -> None:
    transpose = Image.Transpose
    flips = [transpose.FLIP_LEFT_RIGHT, transpose.FLIP_TOP_BOTTOM, transpose.ROTATE_180]
    whole = fingerprint(scene(5))[0, 0]
    assert mirrored_bits()[0] == 0
    for flip, mask in zip(flips, mirrored_bits()[1:], strict=True):
        assert fingerprint(scene(5).transpose(flip))[0, 0] == whole ^ mask
        assert mask.bit_count() == 32


def test_a_sketch_marks_the_pixels_that_are_brighter_than_around_them() -> None:
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[10, 3] = 200
    sketch: NDArray[np.uint64] = fingerprint(Image.fromarray(pixels))[0, 1:]
    assert np.flatnonzero(sketch).tolist() == [10]
    assert sketch[10] == 1 << 3
