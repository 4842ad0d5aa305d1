"""Whatever the bytes are: an image, or one line. Ordinary images are as Pillow decodes them."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.core.data.decoding import Format, InvalidImage, decode
from tests import factories
from tests.image_files import DISPLAY_P3, SHORT, encode, icc_profile, noise, png, tiff, to_xyz

FORMATS: list[Format] = ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"]
GRAY = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2_700
COLOR = np.stack([GRAY, GRAY // 2, GRAY // 3], axis=-1)
SMALL, PROFILE = noise(12, 8), icc_profile(to_xyz(DISPLAY_P3))

# Small sound files of every kind that is treated in a way of its own.
SOUND = [
    encode(SMALL, "PNG", icc_profile=PROFILE),
    png(GRAY, 0),
    png(COLOR, 2),
    png(np.dstack([GRAY, GRAY]), 4),
    png(np.dstack([COLOR, GRAY]), 6),
    encode(SMALL, "JPEG", icc_profile=PROFILE),
    encode(SMALL, "JPEG", progressive=True),
    encode(SMALL.convert("CMYK"), "JPEG"),
    encode(SMALL.convert("L"), "JPEG", restart_marker_blocks=1),
    encode(SMALL.convert("RGBA"), "WEBP", lossless=True),
    encode(SMALL.convert("P"), "GIF"),
    encode(SMALL, "BMP"),
    tiff(GRAY, {262: (SHORT, [0])}),
    tiff(COLOR, order=">"),
    tiff(COLOR, big=True, sub=[{}], later=[{}]),
    tiff(np.dstack([COLOR, GRAY]), {262: (SHORT, [5])}),
    encode(SMALL, "PPM"),
    b"P6\n4 2\n1023\n" + bytes(48),
    b"P3\n2 2\n900\n1 2 3 4 5 6 7 8 9 10 11 12\n",
]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SOUND), st.data())
def test_any_bytes_give_an_image_or_one_line(sound: bytes, data: st.DataObject) -> None:
    content = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.sampled_from([0, 1, 1, 2, 7, 60]))
        content[place : place + length] = data.draw(st.binary(max_size=8))
    white_level = data.draw(st.sampled_from([None, 4_095]))
    params = factories.image_params(
        formats=FORMATS, max_pixels=200_000, white_level=white_level, multi_frame="first"
    )
    refusal = ""
    try:
        decoded = decode(bytes(content), params)
    except InvalidImage as error:
        refusal = str(error)
    else:
        assert decoded.pixels.mode in ("L", "RGB")
        assert decoded.width * decoded.height <= 200_000
    assert "\n" not in refusal
    assert len(refusal) < 160


@pytest.mark.parametrize("content", SOUND, ids=range(len(SOUND)))
def test_the_sound_files_above_are_sound(content: bytes) -> None:
    params = factories.image_params(formats=FORMATS, multi_frame="first")
    assert decode(content, params).pixels.mode in ("L", "RGB")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "RGBA", "LA"])
def test_ordinary_images_are_those_of_pillow(kind: Format, mode: str) -> None:
    try:
        content = encode(noise(mode="RGBA").convert(mode), kind)
    except (OSError, ValueError):
        return  # not a mode of this format
    with Image.open(BytesIO(content)) as image:
        expected = image.convert("L" if image.mode in ("1", "L") else "RGB")
    params = factories.image_params(formats=FORMATS)
    assert decode(content, params).pixels.tobytes() == expected.tobytes()
