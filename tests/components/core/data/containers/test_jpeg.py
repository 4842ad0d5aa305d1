"""JPEG streams that are damaged are refused; sound ones are used, whatever surrounds the pixels."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from components.core.data.containers import InvalidImage, jpeg
from components.core.data.decoding import Decoded, decode
from tests import factories
from tests.image_files import encode, noise, scene

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "optimized": ("RGB", {"optimize": True}),
    "progressive": ("RGB", {"progressive": True}),
    "full color": ("RGB", {"subsampling": 0, "quality": 95}),
    "low quality": ("RGB", {"quality": 30}),
    "restart markers": ("RGB", {"restart_marker_rows": 1}),
    "kept as RGB": ("RGB", {"keep_rgb": True}),
    "gray": ("L", {}),
    "gray progressive": ("L", {"progressive": True}),
    "ink": ("CMYK", {}),
}


def read(content: bytes) -> Decoded:
    return decode(content, factories.image_params(formats=["JPEG"]))


def reason(content: bytes) -> str:
    with pytest.raises(InvalidImage) as caught:
        read(content)
    assert caught.value.format == "JPEG"
    return str(caught.value)


def written(name: str, image: Image.Image | None = None) -> bytes:
    mode, options = KINDS[name]
    return encode((image or scene(320, 240)).convert(mode), "JPEG", **{"quality": 85, **options})


def by_pillow(content: bytes) -> Image.Image:
    with JpegImageFile(BytesIO(content)) as image:
        image.load()
        return image.copy()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def lose(content: bytes, start: int, length: int) -> bytes:
    return content[:start] + content[start + length :]


def zero(content: bytes, start: int, length: int) -> bytes:
    return content[:start] + bytes(length) + content[start + length :]


def overwrite(content: bytes, start: int, length: int) -> bytes:
    junk = np.random.default_rng(start).integers(0, 256, length, dtype=np.uint8).tobytes()
    return content[:start] + junk + content[start + length :]


def insert(content: bytes, start: int, length: int) -> bytes:
    # without 0xff, so that no marker appears by chance
    junk = np.random.default_rng(start).integers(0, 255, length, dtype=np.uint8).tobytes()
    return content[:start] + junk + content[start:]


def repeat(content: bytes, start: int, length: int) -> bytes:
    return content[: start + length] + content[start:]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("damage", [lose, zero, overwrite, insert, repeat])
def test_a_stream_with_a_damaged_part_is_refused(
    name: str, damage: Callable[[bytes, int, int], bytes]
) -> None:
    content = written(name)
    start = content.index(b"\xff\xda") + 20
    room = len(content) - start
    for place, share in [(0.1, 0.5), (0.3, 0.2), (0.5, 0.3), (0.7, 0.1)]:
        damaged = damage(content, start + int(place * room), int(share * room))
        assert reason(damaged).startswith(("damaged JPEG", "truncated"))


@pytest.mark.parametrize("name", ["baseline", "gray", "ink", "full color", "restart markers"])
def test_one_zeroed_sector_is_enough(name: str) -> None:
    content = written(name)
    start = content.index(b"\xff\xda") + 20
    for place in range(start, len(content) - 600, (len(content) - start) // 7):
        assert reason(zero(content, place, 512)).startswith("damaged JPEG")


def test_zeros_that_happen_to_make_up_the_right_number_of_blocks_are_found() -> None:
    # libjpeg is silent: it took each zeroed block for one of equal coefficients
    content = written("full color")
    start = content.index(b"\xff\xda") + 20
    tail = zero(content, start + 2_000, len(content) - start - 2_002)
    assert reason(tail) == "damaged JPEG (a part of the stream is zeros)"


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_stream_is_truncated(name: str) -> None:
    content = written(name)
    for share in (0.4, 0.8, 0.99):
        assert reason(content[: int(share * len(content))]) == "truncated"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "surround",
    [
        lambda c: c[:-2] + bytes(100) + c[-2:],
        lambda c: c[:-2] + b"\xff" * 100 + c[-2:],
        lambda c: c[:-2] + b"\xaa" * 30 + c[-2:],
        lambda c: c[:-2] + b"\0" + c[-2:],
        lambda c: c + bytes(5_000),
        lambda c: c + b"SEFT trailer of a phone" * 20,
        lambda c: c + c,
        lambda c: c[:2] + segment(0xE1, b"Exif\0\0junk") + c[2:],
        lambda c: c[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x") + c[2:],
        lambda c: c[:2] + segment(0xE2, b"ICC_PROFILE\0\3\1zzz") + c[2:],
        lambda c: c[:2] + segment(0xE2, b"ICC_PROFILE\0") + c[2:],
        lambda c: c[:2] + segment(0xE2, b"MPF\0junk") + c[2:],
        lambda c: c[:2] + segment(0xED, b"Photoshop 3.0\x008BIM\4") + c[2:],
        lambda c: c[:2] + segment(0xFE, bytes(60_000)) + c[2:],
        lambda c: c[:2] + segment(0xE5, bytes(range(256))) + c[2:],
        lambda c: c[:2] + segment(0xE1, b"Exif\0\0" + encode(noise(8, 8), "JPEG")) + c[2:],
    ],
)
def test_what_surrounds_sound_pixels_does_no_harm(
    name: str, surround: Callable[[bytes], bytes]
) -> None:
    content = written(name, scene(48, 32))
    assert read(surround(content)).pixels.tobytes() == read(content).pixels.tobytes()


def test_an_unknown_version_of_jfif_is_used() -> None:
    content = written("baseline", scene(48, 32))
    assert b"JFIF\0\1\1" in content
    newer = content.replace(b"JFIF\0\1\1", b"JFIF\0\7\1")
    assert read(newer).pixels.tobytes() == read(content).pixels.tobytes()


def test_even_areas_of_zero_bits_are_no_damage() -> None:
    white = Image.new("RGB", (1_000, 1_000), "white")
    for options in ({"optimize": True}, {"progressive": True}, {}):
        content = encode(white, "JPEG", **options)
        assert read(content).pixels.getpixel((999, 999)) == (255, 255, 255)
    assert bytes(64) in encode(white, "JPEG", optimize=True)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 16), (33, 47), (150, 40)])
@pytest.mark.parametrize("quality", [5, 60, 92, 100])
def test_pixels_are_those_of_pillow(size: tuple[int, int], quality: int) -> None:
    for mode in ("RGB", "L", "CMYK"):
        for subsampling in (0, 1, 2) if mode == "RGB" else (0,):
            for progressive in (False, True):
                content = encode(
                    scene(*size).convert(mode),
                    "JPEG",
                    quality=quality,
                    subsampling=subsampling,
                    progressive=progressive,
                )
                with JpegImageFile(BytesIO(content)) as image:
                    found = jpeg.decode(content, image)
                expected = by_pillow(content)
                assert (found.mode, found.tobytes()) == (expected.mode, expected.tobytes())


def test_gray_with_any_sampling_factors_gives_the_pixels_of_pillow() -> None:
    content = bytearray(written("gray", scene(97, 61)))
    content[content.index(b"\xff\xc0") + 11] = 0x22
    assert read(bytes(content)).pixels.tobytes() == by_pillow(bytes(content)).tobytes()
