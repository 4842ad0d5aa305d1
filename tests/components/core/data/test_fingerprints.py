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
    CUTS,
    FINGERPRINT,
    fingerprint,
    fingerprints,
    perceptual_hash,
    pixel_digest,
    views,
)

PIXELS = 8 * FINGERPRINT["sketches"].shape[1]  # of a sketch


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


def test_an_image_in_color_below_a_gray_row_has_the_digest_of_its_color() -> None:
    image = Image.new("RGB", (2, 2), (5, 5, 5))
    image.putpixel((1, 1), (5, 5, 6))
    content = struct.pack("<2I", 2, 2) + bytes([5] * 11 + [6])
    assert pixel_digest(image) == hashlib.sha256(content).hexdigest()


def test_gray_has_one_fingerprint_whether_it_is_stored_as_gray_or_as_color() -> None:
    gray = scene(3).convert("L")
    assert np.array_equal(fingerprint(gray), fingerprint(gray.convert("RGB")))


def test_many_at_once_have_the_fingerprints_that_each_has_alone() -> None:
    images = [scene(1), scene(2).convert("L"), Image.new("RGB", (3, 1), "red"), scene(3)]
    found = fingerprints([views(image) for image in images])
    alone = [fingerprint(image) for image in images]
    assert found.tobytes() == b"".join(one.tobytes() for one in alone)
    assert not np.array_equal(alone[0], alone[3])
    assert len(fingerprints([])) == 0


def bits(one: Image.Image, other: Image.Image) -> int:
    return int(np.bitwise_count(whole_hash(one) ^ whole_hash(other)))


def whole_hash(image: Image.Image) -> np.uint64:
    found: np.uint64 = fingerprint(image)["hashes"][0, 0]
    return found


def sketches(image: Image.Image) -> NDArray[np.uint8]:
    """(views, bytes)."""
    found: NDArray[np.uint8] = fingerprint(image)["sketches"][0]
    return found


def agreement(one: Image.Image, other: Image.Image) -> float:
    """Share of equal bits in the sketches of the whole images."""
    differ = np.bitwise_count(sketches(one)[0] ^ sketches(other)[0]).sum()
    return float(1 - differ / PIXELS)


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
    whole = sketches(scene(4, (400, 400)))
    inside = sketches(scene(4, (400, 400)).crop((cut, cut, 400 - cut, 400 - cut)))
    counts = np.bitwise_count(whole ^ inside[0]).sum(axis=1) / PIXELS
    assert min(counts) < 0.05
    assert int(np.argmin(counts)) == cut // 6 == CUTS.index(cut / 400)


def test_flat_images_have_no_bits_but_their_gray() -> None:
    for level in (0, 77, 255):
        found = fingerprint(Image.new("RGB", (50, 40), (level,) * 3))
        assert (found.shape, found.dtype) == ((1,), FINGERPRINT)
        for name in ("hashes", "inside", "luma", "chroma", "sketches"):
            assert not found[name].any()
        assert (found["gray"] == level).all()
        assert found["side"].tolist() == [40]


def test_the_hash_is_sixteen_hex_digits_of_the_whole_image() -> None:
    found = fingerprint(scene(1))
    assert len(perceptual_hash(found)) == 16
    assert int(perceptual_hash(found), 16) == int(found["hashes"][0, 0])
    found["hashes"][0, 0] = 10
    assert perceptual_hash(found) == "000000000000000a"


def test_a_vertical_ramp_excites_only_vertical_frequencies() -> None:
    ramp = Image.linear_gradient("L").convert("RGB")  # dark at the top
    assert int(whole_hash(ramp)) & ~sum(1 << (8 * down) for down in range(8)) == 0


def test_the_hashes_of_mirrored_images_are_known_without_mirroring() -> None:
    transpose = Image.Transpose
    flips = [transpose.FLIP_LEFT_RIGHT, transpose.FLIP_TOP_BOTTOM, transpose.ROTATE_180]
    hashes = fingerprint(scene(5))["hashes"][0]
    for flip, expected in zip(flips, hashes[1:], strict=True):
        assert int(np.bitwise_count(whole_hash(scene(5).transpose(flip)) ^ expected)) <= 1


def test_color_is_what_is_left_of_gray() -> None:
    assert not fingerprint(scene(1).convert("L"))["chroma"].any()
    red = fingerprint(Image.new("RGB", (30, 30), (255, 0, 0)))["chroma"][0]
    # ITU-R BT.601, as JPEG has it: Cb 85, Cr 255 of pure red; 128 is gray
    assert np.abs(red[0].astype(int) - (85 - 128)).max() <= 1
    assert np.abs(red[1].astype(int) - (255 - 128)).max() <= 1


def test_a_sketch_marks_the_pixels_that_are_brighter_than_around_them() -> None:
    pixels = np.zeros((48, 48), dtype=np.uint8)
    pixels[10, 3] = 200
    marked = np.unpackbits(sketches(Image.fromarray(pixels))[0], bitorder="little")
    assert np.flatnonzero(marked).tolist() == [10 * 48 + 3]
