"""The one conversion from bytes to pixels: every kind of image, and every kind of damage."""

import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from components.core.data.decoding import (
    DataParams,
    Format,
    ImageParams,
    InvalidImage,
    decode,
    load_image,
    resize_to_square,
)
from components.core.data.fingerprints import pixel_digest

FORMATS: list[Format] = ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"]
PARAMS = ImageParams(
    formats=FORMATS,
    max_pixels=1_000_000,
    white_level=None,
    multi_frame="refuse",
    background=(10, 20, 30),
    resize_mode="crop",
)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners() -> Image.Image:
    """A 40 x 20 image with another color in each quarter: every turn of it looks different."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste(GREEN, (20, 0, 40, 10))
    image.paste(BLUE, (0, 10, 20, 20))
    image.paste(WHITE, (20, 10, 40, 20))
    return image


def noise(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reason(content: bytes, params: ImageParams = PARAMS) -> str:
    with pytest.raises(InvalidImage) as caught:
        decode(content, params)
    return str(caught.value)


def pixel(content: bytes, x: int = 0, y: int = 0) -> object:
    return decode(content, PARAMS).rgb.getpixel((x, y))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_zeros(width: int, height: int) -> bytes:
    """A 1-bit PNG of any size that costs almost no bytes and no memory to make."""
    row = b"\0" * (1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.row("D08", "D27")
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_found_by_its_content(kind: Format) -> None:
    decoded = decode(encode(noise(mode="L"), kind), PARAMS)
    assert decoded.format == kind
    assert decoded.rgb.mode == "RGB"
    assert (decoded.width, decoded.height) == (48, 32)


def test_lossless_formats_give_equal_pixels() -> None:
    files = [
        encode(noise(), "PNG"),
        encode(noise(), "BMP"),
        encode(noise(), "TIFF", compression="tiff_lzw"),
        encode(noise(), "WEBP", lossless=True),
    ]
    digests = {pixel_digest(decode(content, PARAMS).rgb) for content in files}
    assert digests == {pixel_digest(noise())}


@pytest.mark.row("D13")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_stand_upright(kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = corners().transpose(undo) if undo is not None else corners()
    exif = Image.Exif()
    exif[0x0112] = orientation
    exact: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
    }
    decoded = decode(encode(stored, kind, exif=exif, **exact.get(kind, {})), PARAMS)
    assert (decoded.width, decoded.height) == (40, 20)
    difference = np.asarray(decoded.rgb).astype(int) - np.asarray(corners())
    # JPEG blurs where the colors meet
    assert np.abs(difference[2:8, 2:18]).max() <= 2
    assert np.abs(difference[12:18, 22:38]).max() <= 2


@pytest.mark.row("D12")
def test_transparent_pixels_show_the_background_not_the_color_below() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    for kind in ("PNG", "TIFF"):
        assert pixel(encode(image, kind)) == (10, 20, 30)
        assert pixel(encode(image, kind), x=1) == RED


def test_half_transparent_pixels_are_mixed() -> None:
    assert pixel(encode(Image.new("RGBA", (1, 1), (210, 120, 30, 128)), "PNG")) == (110, 70, 30)


@pytest.mark.row("D12")
def test_gray_with_alpha_and_palettes_with_transparency_are_composited() -> None:
    gray = Image.new("LA", (1, 1), (200, 0))
    assert pixel(encode(gray, "PNG")) == (10, 20, 30)
    palette = corners().quantize(4)
    index = palette.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        content = encode(palette, kind, transparency=index)
        assert pixel(content) == (10, 20, 30)
        assert pixel(content, x=39) == GREEN
    several = encode(palette, "PNG", transparency=bytes([0] * 4))
    assert pixel(several, x=39) == (10, 20, 30)


@pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7))])
def test_a_color_marked_transparent_becomes_background(mode: str, key: object) -> None:
    image = Image.new(mode, (2, 1), 7 if mode == "L" else (7, 7, 7))
    image.putpixel((1, 0), 9 if mode == "L" else (9, 9, 9))
    content = encode(image, "PNG", transparency=key)
    assert pixel(content) == (10, 20, 30)
    assert pixel(content, x=1) == (9, 9, 9)


@pytest.mark.row("D11")
def test_sixteen_bit_gray_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16)[None, :]
    for kind in ("PNG", "TIFF"):
        decoded = decode(encode(Image.fromarray(ramp), kind), PARAMS)
        assert decoded.mode == "I;16"
        assert np.asarray(decoded.rgb)[0, :, 0].tolist() == list(range(256))


def test_sixteen_bit_gray_with_a_transparent_value_is_composited() -> None:
    gray = Image.fromarray(np.array([[1000, 0xFF00]], dtype=np.uint16))
    content = encode(gray, "PNG", transparency=1000)
    assert pixel(content) == (10, 20, 30)
    assert pixel(content, x=1) == WHITE


def test_thirty_two_bit_integers_are_read_as_sixteen_bit_or_refused() -> None:
    fits = Image.fromarray(np.array([[0, 0x8000, 65_535]], dtype=np.int32))
    rgb = decode(encode(fits, "TIFF"), PARAMS).rgb
    assert [rgb.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]
    for wild in (-1, 65_536):
        too_wide = Image.fromarray(np.array([[0, wild]], dtype=np.int32))
        assert "32-bit integer" in reason(encode(too_wide, "TIFF"))


@pytest.mark.row("D11")
def test_float_pixels_are_refused() -> None:
    image = Image.fromarray(np.zeros((2, 2), dtype=np.float32))
    assert reason(encode(image, "TIFF")) == "32-bit float pixels; store 8 or 16 bits"


@pytest.mark.row("D10")
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_print_and_video_colors_become_rgb(mode: str) -> None:
    white = {"CMYK": (0, 0, 0, 0), "YCbCr": (255, 128, 128), "LAB": (255, 128, 128)}[mode]
    image = Image.new(mode, (8, 8), white)
    decoded = decode(encode(image, "TIFF"), PARAMS)
    assert decoded.mode == mode
    assert np.asarray(decoded.rgb).min() >= 254


@pytest.mark.row("D10")
def test_a_cmyk_jpeg_keeps_its_colors() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    rgb = np.asarray(decode(encode(red, "JPEG", quality=100), PARAMS).rgb).astype(int)
    assert np.abs(rgb - RED).max() <= 4


def test_one_bit_images_become_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    content = encode(image, "PNG")
    assert (pixel(content), pixel(content, x=1)) == ((0, 0, 0), WHITE)


@pytest.mark.row("D09")
@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_are_refused_or_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert reason(content) == "an animation or several pages"
    first = PARAMS.model_copy(update={"multi_frame": "first"})
    assert decode(content, first).rgb.getpixel((0, 0)) == RED


def test_a_phone_jpeg_with_a_second_image_behind_it_is_one_image() -> None:
    content = encode(noise(), "MPO", save_all=True, append_images=[noise()])
    assert decode(content, PARAMS).format == "JPEG"


@pytest.mark.row("D08", "D15")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "zero bytes"),
        (b"<!DOCTYPE html><html></html>", "text/HTML, not an image"),
        ("Gr\u00fc\u00dfe\n".encode(), "text/HTML, not an image"),
        (b"%PDF-1.7 ...", "a PDF, not an image"),
        (b"PK\x03\x04\x14\0\0\0", "a ZIP archive, not an image"),
        (b"\0\0\0\x18ftypheic\0\0", "HEIC; convert it to PNG, JPEG or TIFF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"SIMPLE  =  \0", "FITS; convert it to PNG, JPEG or TIFF"),
        (b"8BPS\0\1", "a Photoshop document (PSD); convert it to PNG, JPEG or TIFF"),
        (b"\0\1\2\3\4\5\6", "unknown content, not an image"),
    ],
)
def test_other_content_is_refused_by_what_it_is(content: bytes, expected: str) -> None:
    assert reason(content).startswith(expected)


def test_a_known_format_that_params_exclude_is_named() -> None:
    only_png = PARAMS.model_copy(update={"formats": ["PNG"]})
    with pytest.raises(InvalidImage, match="GIF, not one of PNG") as caught:
        decode(encode(noise(mode="L"), "GIF"), only_png)
    assert caught.value.format == "GIF"


@pytest.mark.row("D02")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_file_is_refused(kind: Format, share: float) -> None:
    content = encode(noise(), kind)
    assert reason(content[: int(len(content) * share)]).startswith(("truncated", "damaged"))


@pytest.mark.row("D02")
def test_a_cut_jpeg_is_called_truncated() -> None:
    content = encode(noise(), "JPEG")
    assert reason(content[: len(content) // 2]) == "truncated"


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_bytes_decode_or_are_refused_but_never_crash(
    kind: Format, data: st.DataObject
) -> None:
    content = bytearray(encode(noise(12, 8), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    refusal = ""
    try:
        assert decode(bytes(content), PARAMS).rgb.mode == "RGB"
    except InvalidImage as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert len(refusal) < 160


@pytest.mark.row("D04")
def test_a_bomb_is_refused_by_its_header_in_little_memory() -> None:
    script = (
        "import pathlib, resource, sys\n"
        "from components.core.data.decoding import ImageParams, InvalidImage, decode\n"
        "content = sys.stdin.buffer.read()\n"
        "limit = 400 << 20\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))\n"
        "params = ImageParams(formats=['PNG'], max_pixels=100_000_000, white_level=None,\n"
        "                     multi_frame='refuse', background=(0, 0, 0), resize_mode='crop')\n"
        "try:\n"
        "    decode(content, params)\n"
        "except InvalidImage as error:\n"
        # not ru_maxrss: that begins with the size of the process that started this one
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    peak = status.split('VmHWM:')[1].split()[0]\n"
        "    print(error, int(peak) // 1024 < 300)\n"
    )
    bomb = png_of_zeros(12_000, 12_000)
    assert len(bomb) < 50_000
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, input=bomb, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "144,000,000 pixels, more than 100,000,000 True"
    assert done.stderr == b""


def test_the_pixel_cap_itself_is_allowed() -> None:
    assert decode(png_of_zeros(1_000, 1_000), PARAMS).width == 1_000
    assert reason(png_of_zeros(1_000, 1_001)) == "1,001,000 pixels, more than 1,000,000"


def test_more_pixels_than_pillow_allows_are_read_when_params_allow_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(encode(noise(), "PNG"), PARAMS).width == 48
    assert reason(encode(noise(), "WEBP")) == "more pixels than the decoder can hold"


@pytest.mark.row("D14")
def test_broken_metadata_is_ignored() -> None:
    for junk in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x09"):
        content = encode(noise(), "JPEG", exif=junk, icc_profile=b"no profile")
        assert decode(content, PARAMS).width == 48
    wild = Image.Exif()
    wild[0x0112] = 99
    assert decode(encode(corners(), "PNG", exif=wild), PARAMS).width == 40


def test_an_orientation_that_is_no_number_is_ignored() -> None:
    # one entry, tag 0x0112 of type ASCII: the text "up"
    entry = struct.pack("<HHI4s", 0x0112, 2, 3, b"up\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    decoded = decode(encode(corners(), "JPEG", exif=exif), PARAMS)
    assert (decoded.width, decoded.height) == (40, 20)


def test_no_warning_leaves_the_decoder_in_any_thread() -> None:
    image = corners().quantize(4)
    contents = [
        encode(image, "PNG", transparency=bytes([0] * 4)),
        encode(noise(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"),
    ] * 20

    def attempt(content: bytes) -> int:
        return decode(content, PARAMS).width

    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("error")
        assert set(pool.map(attempt, contents)) == {40, 48}


def test_crop_keeps_the_center_of_the_longer_side() -> None:
    wide = Image.new("RGB", (30, 10), RED)
    wide.paste(GREEN, (10, 0, 20, 10))
    assert (resize_to_square(wide, 10, PARAMS) == GREEN).all()
    assert (resize_to_square(wide.rotate(90, expand=True), 10, PARAMS) == GREEN).all()


def test_pad_shows_everything_on_the_background() -> None:
    pad = PARAMS.model_copy(update={"resize_mode": "pad"})
    square = resize_to_square(Image.new("RGB", (40, 20), RED), 20, pad)
    assert (square[:5] == (10, 20, 30)).all()
    assert (square[5:15] == RED).all()
    assert (square[15:] == (10, 20, 30)).all()


def test_stretch_ignores_the_aspect_ratio() -> None:
    stretch = PARAMS.model_copy(update={"resize_mode": "stretch"})
    square = resize_to_square(corners(), 20, stretch)
    assert [tuple(square[y, x]) for y, x in [(0, 0), (0, 19), (19, 0), (19, 19)]] == [
        RED,
        GREEN,
        BLUE,
        WHITE,
    ]


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = Image.fromarray(checks.astype(np.uint8)).convert("RGB")
    assert np.abs(resize_to_square(image, 8, PARAMS).astype(int) - 127).max() <= 2


@pytest.mark.parametrize("resize_mode", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5_000), (100_000, 1), (7, 3)])
def test_any_shape_fits_the_square(resize_mode: str, size: tuple[int, int]) -> None:
    params = PARAMS.model_copy(update={"resize_mode": resize_mode})
    square = resize_to_square(Image.new("RGB", size, RED), 16, params)
    assert square.shape == (16, 16, 3)
    assert square.dtype == np.uint8


@pytest.mark.parametrize("resize_mode", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray_files_give_the_pixels_of_their_color_copies(mode: str, resize_mode: str) -> None:
    params = PARAMS.model_copy(update={"resize_mode": resize_mode})
    gray = noise(mode=mode)
    stored, copy = (encode(image, "PNG") for image in (gray, gray.convert("RGB")))
    assert decode(stored, params).pixels.mode == "L"
    assert decode(copy, params).pixels.mode == "RGB"
    assert (load_image(stored, 16, params) == load_image(copy, 16, params)).all()


def test_load_image_is_decode_then_resize_to_square() -> None:
    content = encode(noise(), "PNG")
    assert (load_image(content, 16, PARAMS) == resize_to_square(noise(), 16, PARAMS)).all()


def test_params_are_checked_and_the_decoding_ones_leave_out_the_cache() -> None:
    data = DataParams(**PARAMS.model_dump(), cache_gib=1.5)
    assert data.decode_params == PARAMS
    assert "cache_gib" not in data.decode_params.model_dump()
    bad = [("formats", []), ("formats", ["PSD"]), ("max_pixels", 0), ("background", (0, 0, 256))]
    for name, value in bad:
        with pytest.raises(ValidationError):
            ImageParams.model_validate({**PARAMS.model_dump(), name: value})
