"""PBM, PGM and PPM, as text and in binary, of any stated maximum."""

import numpy as np
import pytest

from components.core.data.containers import InvalidImage
from components.core.data.decoding import Decoded, decode
from tests import factories
from tests.image_files import encode, noise


def read(content: bytes, multi_frame: str = "refuse") -> Decoded:
    return decode(content, factories.image_params(formats=["PPM"], multi_frame=multi_frame))


def rows(content: bytes) -> object:
    return np.asarray(read(content).pixels).tolist()


def reason(content: bytes) -> str:
    with pytest.raises(InvalidImage) as caught:
        read(content)
    assert caught.value.format == "PPM"
    return str(caught.value)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_what_pillow_writes_is_read(mode: str) -> None:
    found = read(encode(noise(mode=mode), "PPM"))
    assert (found.format, found.mode) == ("PPM", mode)
    assert (np.asarray(found.rgb) == np.asarray(noise(mode=mode).convert("RGB"))).all()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P1\n3 2\n1 0 1\n010", [[0, 255, 0], [255, 0, 255]]),
        (b"P1 # comment\n3 2\n101 010\n", [[0, 255, 0], [255, 0, 255]]),
        (b"P4\n3 2\n\xa0\x40", [[0, 255, 0], [255, 0, 255]]),
        (b"P2\n3 1\n255\n0 127 255\n", [[0, 127, 255]]),
        (b"P2\n3 1\n15\n0 8 15", [[0, 136, 255]]),
        (b"P2\n# a\n3 1\n1023\n0 # b\n512 1023\n", [[0, 128, 255]]),
        (b"P5\n3 1\n255\n\x00\x7f\xff", [[0, 127, 255]]),
        (b"P5\n3 1\n15\n\x00\x08\x0f", [[0, 136, 255]]),
        (b"P5\n3 1\n1\n\x00\x01\x01", [[0, 255, 255]]),
        (b"P5\n3 1\n4095\n\x00\x00\x08\x00\x0f\xff", [[0, 128, 255]]),
        (b"P5 3 1 65535\n\x00\x00\x80\x00\xff\xff", [[0, 128, 255]]),
        (b"P3\n1 1\n255\n1 2 3\n", [[[1, 2, 3]]]),
        (b"P3\n1 1\n15\n0 8 15\n", [[[0, 136, 255]]]),
        (b"P3\n1 1\n65535\n0 32768 65535\n", [[[0, 128, 255]]]),
        (b"P6\n1 1\n255\n\x01\x02\x03", [[[1, 2, 3]]]),
        (b"P6\n1 1\n100\n\x00\x32\x64", [[[0, 128, 255]]]),
        (b"P6\n1 1\n1023\n\x00\x00\x02\x00\x03\xff", [[[0, 128, 255]]]),
        (b"P6\r\n1 1\r255\n\x01\x02\x03", [[[1, 2, 3]]]),
    ],
)
def test_samples_are_scaled_by_the_stated_maximum(content: bytes, expected: object) -> None:
    assert rows(content) == expected
    assert all(rule != "value_range" for rule, _ in read(content).doubts)


@pytest.mark.parametrize(
    "content",
    [
        b"P4\n30 20\n\xa0\x40",
        b"P5\n3 1\n255\n\x00",
        b"P5\n3 1\n1023\n\x00\x00\x01",
        b"P6\n3 1\n255\n\x00\x01\x02",
        b"P2\n3 1\n255\n1 2",
        b"P3\n3 1\n1023\n1 2 3 4",
        b"P1\n3 2\n10101",
        b"P5\n3 1\n",
        b"P6\n3 ",
    ],
)
def test_a_file_that_ends_too_soon_is_truncated(content: bytes) -> None:
    assert reason(content) == "truncated"


@pytest.mark.parametrize(
    "content",
    [
        b"P5\n2 1\n15\n\x00\x10",
        b"P5\n2 1\n1023\n\x00\x00\x04\x00",
        b"P2\n2 1\n15\n0 16\n",
        b"P2\n2 1\n255\n0 -1\n",
        b"P3\n1 1\n255\n0 x 1\n",
        b"P1\n2 1\n0 7\n",
        b"P5\n2 1\n0\n\x00\x00",
        b"P5\n2 1\n65536\n\x00\x00\x00\x00",
        b"P5\n0 1\n255\n",
        b"P5\n2 99999999999\n255\n\x00",
    ],
)
def test_wrong_values_are_damage(content: bytes) -> None:
    assert reason(content).startswith(("damaged PPM", "truncated"))


def test_pixels_too_many_are_refused_by_the_header() -> None:
    assert reason(b"P6\n30000 30000\n255\n").startswith("900,000,000 pixels, more than")
    assert reason(b"P3\n30000 30000\n9\n").startswith("900,000,000 pixels, more than")


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_several_images_in_one_file_are_governed_by_multi_frame(mode: str) -> None:
    content = encode(noise(9, 8, mode=mode), "PPM") + encode(noise(mode=mode), "PPM")
    assert reason(content) == "an animation or several pages"
    assert read(content, "first").width == 9
    deep = b"P6\n1 1\n1023\n\0\0\2\0\3\xff"
    assert reason(deep * 2) == "an animation or several pages"
    assert read(deep + b"\n").width == 1
