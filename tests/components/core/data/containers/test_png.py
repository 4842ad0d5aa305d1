"""PNG files whose pixels are sound, and whose metadata is not."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from components.core.data.containers import InvalidImage
from components.core.data.containers.png import without_metadata
from components.core.data.decoding import Decoded, decode
from tests import factories
from tests.image_files import DISPLAY_P3, chunk, encode, icc_profile, noise, png, to_xyz

PIXELS = np.asarray(noise())
LONG_TEXT = b"layer moved; " * 160_000
# 64 times 1 MB once unpacked: Pillow's limit for all texts together
MANY_TEXTS = [chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000)))] * 70


def read(content: bytes) -> Decoded:
    return decode(content, factories.image_params(formats=["PNG"], background=(9, 8, 7)))


def broken(kind: bytes, body: bytes) -> bytes:
    """A chunk with a wrong checksum."""
    whole = chunk(kind, body)
    return whole[:-1] + bytes([whole[-1] ^ 1])


def with_chunks(*chunks: bytes, at_end: bool = False) -> bytes:
    content = png(PIXELS, 2, 8)
    place = len(content) - 12 if at_end else 33
    return content[:place] + b"".join(chunks) + content[place:]


@pytest.mark.row("D14")
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"zTXt", b"history\0\0" + zlib.compress(LONG_TEXT))],
        [chunk(b"tEXt", b"history\0" + LONG_TEXT)],
        [chunk(b"iTXt", b"history\0\x01\0\0\0" + zlib.compress(LONG_TEXT))],
        [chunk(b"iTXt", b"history\0\0\0\0\0" + LONG_TEXT)],
        MANY_TEXTS,
        [broken(b"tEXt", b"k\0v")],
        [broken(b"tIME", bytes(7))],
        [broken(b"eXIf", b"II*\0\x08\0\0\0\0\0")],
        [broken(b"pHYs", bytes(9))],
        [broken(b"gAMA", bytes(4))],
        [chunk(b"zTXt", b"k\0\0no zlib stream")],
        [chunk(b"pHYs", b"x")],
        [chunk(b"gAMA", b"")],
        [chunk(b"cHRM", b"abc")],
        [chunk(b"eXIf", bytes(3_000_000))],
        [chunk(b"prVt", bytes(3_000_000))],
    ],
)
def test_metadata_too_large_or_broken_is_left_out(chunks: list[bytes], at_end: bool) -> None:
    assert (np.asarray(read(with_chunks(*chunks, at_end=at_end)).pixels) == PIXELS).all()


@pytest.mark.parametrize(
    "body",
    [
        b"icc\0\0" + zlib.compress(bytes(2_000_000)),
        b"icc\0\0" + zlib.compress(bytes(200_000_000), 1)[:900_000],
        b"icc\0\0not a zlib stream",
        b"icc\0\0" + zlib.compress(b"no profile"),
        b"icc",
        b"",
    ],
)
def test_profiles_too_large_or_broken_are_left_out(body: bytes) -> None:
    profile = chunk(b"iCCP", body)
    text = chunk(b"zTXt", b"history\0\0" + zlib.compress(LONG_TEXT))
    for content in (with_chunks(profile), with_chunks(profile, text)):
        assert (np.asarray(read(content).pixels) == PIXELS).all()


def test_what_decides_about_pixels_stays_beside_a_large_text() -> None:
    text = chunk(b"zTXt", b"history\0\0" + zlib.compress(LONG_TEXT))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = icc_profile(to_xyz(DISPLAY_P3))
    plain = encode(noise(40, 20), "PNG", exif=exif, icc_profile=profile)
    found = read(plain[:33] + text + plain[33:])
    assert (found.width, found.height) == (20, 40)
    assert found.pixels.tobytes() == read(plain).pixels.tobytes()
    key = chunk(b"tRNS", struct.pack(">3H", *map(int, PIXELS[0, 0])))
    assert read(png(PIXELS, 2, 8, text, key)).pixels.getpixel((0, 0)) == (9, 8, 7)


def test_a_broken_checksum_of_what_decides_about_pixels_is_damage() -> None:
    content = png(PIXELS, 2, 8)
    place = content.index(b"IDAT") + 40
    flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    transparent = with_chunks(broken(b"tRNS", bytes(6)))
    for damaged in (flipped, transparent):
        with pytest.raises(InvalidImage, match="damaged PNG"):
            read(damaged)


def test_an_animation_beside_a_large_text_is_still_one() -> None:
    frames = [noise(seed=seed) for seed in range(2)]
    content = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    text = chunk(b"tEXt", b"history\0" + LONG_TEXT)
    with pytest.raises(InvalidImage, match="an animation"):
        read(content[:33] + text + content[33:])


@pytest.mark.row("D44")
def test_pixels_too_many_are_refused_with_a_large_text_as_without() -> None:
    header = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(LONG_TEXT))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text
    content += chunk(b"IDAT", zlib.compress(bytes(1_000))) + chunk(b"IEND", b"")
    with pytest.raises(InvalidImage, match="3,600,000,000 pixels"):
        read(content)


def test_what_is_no_chunk_is_kept_as_it_is() -> None:
    for content in (b"\x89PNG\r\n\x1a\n", png(PIXELS, 2, 8)[:50], png(PIXELS, 2, 8) + b"behind"):
        assert without_metadata(content) == content


def test_metadata_too_large_to_be_any_are_left_out_unread() -> None:
    plain = png(PIXELS, 2, 8)
    large = chunk(b"eXIf", bytes((16 << 20) + 1))
    assert without_metadata(plain[:33] + large + plain[33:]) == plain
    useful = chunk(b"eXIf", bytes(100))
    assert without_metadata(plain[:33] + useful + plain[33:]) == plain[:33] + useful + plain[33:]
