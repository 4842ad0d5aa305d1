"""Images of more than 8 bits a sample: which value becomes white, and which is doubted."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.core.data.decoding import ImageParams, InvalidImage, decode
from tests import factories
from tests.image_files import LONG, SHORT, Order, chunk, encode, noise, png, tiff

Samples = NDArray[Any]
RAMP: Samples = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2_700
COLOR: Samples = np.stack([RAMP, RAMP // 2, RAMP // 3], axis=-1)
OPAQUE: Samples = np.full_like(RAMP, 65_535)


def params(**changes: Any) -> ImageParams:
    formats = ["PNG", "TIFF", "PPM"]
    return factories.image_params(formats=formats, background=(9, 8, 7), **changes)


def shown(content: bytes, **changes: Any) -> NDArray[np.uint8]:
    return np.asarray(decode(content, params(**changes)).pixels)


def doubts(content: bytes, **changes: Any) -> dict[str, str]:
    return {str(rule): why for rule, why in decode(content, params(**changes)).doubts}


def pgm(samples: Samples, maximum: int, magic: bytes = b"P5") -> bytes:
    height, width = samples.shape[:2]
    body = samples.astype("u1" if maximum < 256 else ">u2").tobytes()
    return b"%s\n%d %d\n%d\n" % (magic, width, height, maximum) + body


# Every way in which color or gray of 16 bits comes, by name; the writer takes the samples.
def gray_png(samples: Samples) -> bytes:
    return png(samples, 0)


def color_png(samples: Samples) -> bytes:
    return png(np.stack([samples] * 3, axis=-1), 2)


def gray_alpha_png(samples: Samples) -> bytes:
    return png(np.stack([samples, OPAQUE], axis=-1), 4)


def color_alpha_png(samples: Samples) -> bytes:
    return png(np.stack([samples] * 3 + [OPAQUE], axis=-1), 6)


def gray_tiff(samples: Samples) -> bytes:
    return tiff(samples)


def big_endian_tiff(samples: Samples) -> bytes:
    return tiff(samples, order=">")


def deflated_tiff(samples: Samples) -> bytes:
    return tiff(samples, deflate=True, order=">")


def color_tiff(samples: Samples) -> bytes:
    return tiff(np.stack([samples] * 3, axis=-1))


def deflated_color_tiff(samples: Samples) -> bytes:
    return tiff(np.stack([samples] * 3, axis=-1), deflate=True, order=">")


def big_tiff(samples: Samples) -> bytes:
    return tiff(samples, big=True)


def binary_pgm(samples: Samples) -> bytes:
    return pgm(samples, 65_535)


def binary_ppm(samples: Samples) -> bytes:
    return pgm(np.stack([samples] * 3, axis=-1), 65_535, b"P6")


def text_ppm(samples: Samples) -> bytes:
    values = " ".join(f"{v} {v} {v}" for v in samples.ravel())
    return f"P3 # text\n6 4\n65535\n{values}\n".encode()


WRITERS = [
    gray_png,
    color_png,
    gray_alpha_png,
    color_alpha_png,
    gray_tiff,
    big_endian_tiff,
    deflated_tiff,
    color_tiff,
    deflated_color_tiff,
    big_tiff,
    binary_pgm,
    binary_ppm,
    text_ppm,
]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_range_keeps_its_high_bytes(write: Any) -> None:
    for white_level in (None, 65_535):
        found = shown(write(RAMP), white_level=white_level)
        assert (found.reshape(4, 6, -1) == (RAMP >> 8)[..., None]).all()
    assert doubts(write(RAMP)) == {}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("bits", "largest"), [(8, 242), (10, 970), (12, 3_881), (14, 15_525)])
def test_fewer_bits_are_doubted_until_a_white_level_is_set(
    write: Any, bits: int, largest: int
) -> None:
    samples = RAMP >> (16 - bits)
    white = 2**bits - 1
    assert doubts(write(samples))["value_range"] == (
        f"largest value {largest:,} of 65,535: {bits} bits of data? set data.white_level: {white}"
    )
    found = shown(write(samples), white_level=white)
    assert doubts(write(samples), white_level=white) == {}
    # rounded half up
    expected = np.floor(samples / white * 255 + 0.5)
    assert (found.reshape(4, 6, -1) == expected[..., None]).all()


@pytest.mark.parametrize("write", WRITERS)
def test_a_sample_above_the_white_level_is_refused_with_both_numbers(write: Any) -> None:
    with pytest.raises(InvalidImage, match=r"a sample of 62,100, above data\.white_level 4,095"):
        decode(write(RAMP), params(white_level=4_095))


def test_what_was_set_by_hand_is_not_doubted() -> None:
    assert "value_range" not in doubts(gray_png(RAMP >> 4), white_level=65_535)
    assert (shown(gray_png(RAMP >> 4), white_level=65_535) == RAMP >> 12).all()


def test_odd_numbers_of_bits_are_taken_for_the_next_usual_one() -> None:
    assert doubts(gray_tiff(np.array([[0, 1_900]], np.uint16)))["value_range"].startswith(
        "largest value 1,900 of 65,535: 12 bits"
    )


def test_black_images_and_8_bit_files_are_of_no_doubtful_range() -> None:
    assert set(doubts(gray_tiff(RAMP * 0))) == {"one_color"}
    dark = (RAMP >> 12).astype(np.uint8)
    assert doubts(tiff(dark)) == {}
    assert (shown(tiff(dark), white_level=4_095) == dark).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("kind", [SHORT, LONG])
def test_sixteen_bits_whose_zero_is_white_are_inverted(
    order: Order, deflate: bool, kind: int
) -> None:
    white_is_zero = {262: (kind, [0])}
    content = tiff(RAMP, white_is_zero, order=order, deflate=deflate)
    assert (shown(content) == (65_535 - RAMP) >> 8).all()
    twelve = tiff(RAMP >> 4, white_is_zero, order=order, deflate=deflate)
    expected = np.floor((4_095 - (RAMP >> 4)) / 4_095 * 255 + 0.5)
    assert (shown(twelve, white_level=4_095) == expected).all()
    assert "12 bits of data?" in doubts(twelve)["value_range"]


def test_white_is_zero_in_a_big_tiff() -> None:
    content = tiff(RAMP, {262: (SHORT, [0])}, big=True)
    assert (shown(content) == (65_535 - RAMP) >> 8).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
def test_up_to_eight_bits_whose_zero_is_white_are_inverted_once(
    order: Order, deflate: bool
) -> None:
    for bits, expected in [
        (1, [0, 0, 0, 0, 255, 255, 255, 255]),
        (2, [0, 0, 255, 255]),
        (4, [0, 255]),
        (8, [15]),
    ]:
        tags = {256: (LONG, [8 // bits]), 258: (SHORT, [bits]), 262: (SHORT, [0])}
        content = tiff(np.array([[0xF0]], np.uint8), tags, order=order, deflate=deflate)
        assert shown(content)[0].tolist() == expected


def test_twelve_bits_a_sample_are_a_full_range_by_themselves() -> None:
    packed = np.array([[0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x00]], np.uint8)
    tags = {256: (LONG, [4]), 258: (SHORT, [12])}
    assert shown(tiff(packed, tags)).tolist() == [[255, 255, 128, 0]]
    assert doubts(tiff(packed, tags)) == {}
    assert shown(tiff(packed, {**tags, 262: (SHORT, [0])})).tolist() == [[0, 0, 127, 255]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_color_of_16_bits_in_separate_planes_keeps_its_high_bytes(order: Order) -> None:
    planes = np.moveaxis(COLOR, -1, 0).reshape(12, 6)
    tags = {257: (LONG, [4]), 258: (SHORT, [16] * 3), 262: (SHORT, [2]), 277: (SHORT, [3])}
    tags |= {278: (LONG, [4]), 284: (SHORT, [2])}
    # three strips of 48 bytes behind the header
    tags |= {273: (LONG, [8, 56, 104]), 279: (LONG, [48] * 3)}
    content = tiff(planes, tags, order=order)
    assert (shown(content) == COLOR >> 8).all()
    assert np.abs(shown(content, white_level=65_500).astype(int) - (COLOR >> 8)).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_ink_of_16_bits_is_scaled_like_light(order: Order) -> None:
    ink = np.dstack([COLOR, RAMP * 0])
    full = shown(tiff(ink, {262: (SHORT, [5])}, order=order)).astype(int)
    twelve = tiff(ink >> 4, {262: (SHORT, [5])}, order=order)
    assert np.abs(full - shown(twelve, white_level=4_095)).max() <= 1
    assert "value_range" in doubts(twelve)


def test_alpha_of_16_bits_ends_where_the_colors_do_or_uses_all_bits() -> None:
    for opaque in (4_095, 65_535):
        content = png(np.dstack([COLOR >> 4, np.full_like(RAMP, opaque)]), 6)
        found = shown(content, white_level=4_095)
        assert np.abs(found.astype(int) - (COLOR >> 8)).max() <= 1
    half = png(np.dstack([COLOR * 0 + 65_535, OPAQUE // 2]), 6)
    assert shown(half)[0, 0].tolist() == [132, 131, 131]


def test_only_the_very_color_that_is_marked_transparent_becomes_background() -> None:
    # equal high bytes: (1000, 2000, 3000) and its neighbor
    samples = np.array([[[1_000, 2_000, 3_000], [1_001, 2_000, 3_000]]], np.uint16)
    key = chunk(b"tRNS", np.array([1_000, 2_000, 3_000], ">u2").tobytes())
    assert shown(png(samples, 2, 16, key)).tolist() == [[[9, 8, 7], [3, 7, 11]]]


def test_premultiplied_alpha_of_16_bits_has_no_white_level() -> None:
    content = tiff(np.dstack([COLOR, OPAQUE]), {338: (SHORT, [1])})
    assert (shown(content) == COLOR >> 8).all()
    with pytest.raises(InvalidImage, match="premultiplied by alpha"):
        decode(content, params(white_level=4_095))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "sample_format", "expected"),
    [
        (np.int8, 2, "signed 8-bit samples"),
        (np.int16, 2, "signed 16-bit samples"),
        (np.complex64, 6, "complex samples"),
        (np.float32, 3, "32-bit float pixels"),
        (np.float64, 3, "64-bit float pixels"),
        (np.uint64, 1, "64-bit samples"),
    ],
)
def test_numbers_that_are_not_read_are_named(
    order: Order, kind: type, sample_format: int, expected: str
) -> None:
    content = tiff(RAMP.astype(kind), {339: (SHORT, [sample_format])}, order=order)
    with pytest.raises(InvalidImage, match=f"^{expected}; store (unsigned )?8 or 16 bits$"):
        decode(content, params())


@pytest.mark.parametrize("bands", [2, 5, 7, 60])
def test_bands_that_are_no_colors_are_counted(
    bands: int, capfd: pytest.CaptureFixture[str]
) -> None:
    content = tiff(np.zeros((4, 4, bands), np.uint8), {262: (SHORT, [1])})
    with pytest.raises(InvalidImage, match=f"^{bands} bands; store gray, RGB or RGBA$"):
        decode(content, params())
    assert capfd.readouterr().err == ""


def test_color_as_float_is_named() -> None:
    content = tiff(COLOR.astype(np.float32), {339: (SHORT, [3, 3, 3])})
    with pytest.raises(InvalidImage, match="32-bit float pixels; store 8 or 16"):
        decode(content, params())


def test_files_of_8_bits_are_left_alone_by_the_white_level() -> None:
    for kind in ("PNG", "TIFF", "PPM"):
        assert (shown(encode(noise(), kind), white_level=4_095) == np.asarray(noise())).all()
