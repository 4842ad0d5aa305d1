"""WebP files with more beside their pixels than a photograph has."""

import struct

import numpy as np
import pytest
from PIL import Image

from components.core.data import headers
from components.core.data.containers import InvalidImage, webp
from components.core.data.decoding import Decoded, decode
from tests import factories
from tests.image_files import DISPLAY_P3, encode, icc_profile, noise, to_xyz

PROFILE = icc_profile(to_xyz(DISPLAY_P3))


def read(content: bytes) -> Decoded:
    return decode(content, factories.image_params(formats=["WEBP"], background=(9, 8, 7)))


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def with_chunk(content: bytes, kind: bytes, size: int) -> bytes:
    """The file with one more chunk at its end."""
    body = content[8:] + kind + struct.pack("<I", size) + bytes(size + size % 2)
    return content[:4] + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("lossless", [False, True])
def test_the_size_is_read_from_the_first_chunk(lossless: bool) -> None:
    plain = encode(noise(40, 20), "WEBP", lossless=lossless)
    extended = encode(noise(40, 20), "WEBP", lossless=lossless, exif=exif(1))
    assert (plain[12:16], extended[12:16]) == (b"VP8L" if lossless else b"VP8 ", b"VP8X")
    assert webp.size(plain) == webp.size(extended) == (40, 20)


def test_what_states_no_size_has_none() -> None:
    plain, lossless = (encode(noise(40, 20), "WEBP", lossless=value) for value in (False, True))
    for content in (b"", plain[:25], plain[:12] + b"JUNK" + plain[16:]):
        assert webp.size(content) is None
    assert webp.size(plain[:23] + b"xxx" + plain[26:]) is None
    assert webp.size(lossless[:20] + b"x" + lossless[21:]) is None


@pytest.mark.row("D44")
@pytest.mark.parametrize("lossless", [False, True])
def test_what_decides_about_pixels_stays_when_the_rest_is_left_out(
    lossless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "LARGEST_METADATA", 10_000)
    image = noise(40, 20).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((40, 20)))
    options = {"lossless": lossless, "exif": exif(6), "icc_profile": PROFILE}
    expected = read(encode(image, "WEBP", **options))
    large = encode(image, "WEBP", **options, xmp=bytes(60_001))
    assert len(webp.without_metadata(large)) < len(large) - 60_000
    for content in (large, with_chunk(large, b"junk", 30_001)):
        found = read(content)
        assert (found.width, found.height, found.mode) == (20, 40, expected.mode)
        assert found.pixels.tobytes() == expected.pixels.tobytes()


def test_a_profile_that_is_none_by_its_size_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webp, "_LARGEST_METADATA", 10_000)
    content = encode(noise(40, 20), "WEBP", lossless=True, icc_profile=bytes(20_000))
    shorter = webp.without_metadata(content)
    assert len(shorter) < 10_000
    assert shorter[20] == content[20] & ~0x20
    assert (np.asarray(read(shorter).pixels) == np.asarray(noise(40, 20))).all()


def test_a_file_with_little_beside_its_pixels_is_kept() -> None:
    content = encode(noise(40, 20), "WEBP", exif=exif(6))
    assert webp.without_metadata(content, 1) is content
    with_xmp = encode(noise(40, 20), "WEBP", xmp=bytes(100))
    assert webp.without_metadata(with_xmp, 200) is with_xmp
    assert len(webp.without_metadata(with_xmp, 100)) < len(with_xmp)


def test_an_animation_stays_one() -> None:
    frames = [noise(seed=seed) for seed in range(2)]
    content = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], xmp=bytes(1000))
    with pytest.raises(InvalidImage, match="an animation"):
        read(webp.without_metadata(content))


@pytest.mark.parametrize("lossless", [False, True])
def test_what_was_added_to_a_plain_file_goes_without_a_trace(lossless: bool) -> None:
    plain = encode(noise(40, 20), "WEBP", lossless=lossless)
    assert webp.without_metadata(with_chunk(plain, b"junk", 5001)) == plain
