"""Images on which nothing can be seen are doubted, with a word of what may help."""

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from components.core.data.decoding import decode
from tests import factories
from tests.image_files import encode, noise

WHITE = (255, 255, 255)


def doubts(content: bytes, **changes: Any) -> list[tuple[str, str]]:
    params = factories.image_params(
        formats=["PNG", "GIF", "WEBP", "JPEG", "TIFF"], **{"background": WHITE, **changes}
    )
    return [(str(rule), why) for rule, why in decode(content, params).doubts]


def drawing(color: tuple[int, int, int], mode: str = "RGBA") -> Image.Image:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((10, 10, 50, 50), fill=(*color, 255))
    return image.convert(mode)


@pytest.mark.row("D35")
@pytest.mark.parametrize("color", [(0, 0, 0), WHITE, (200, 30, 30), (128, 128, 128)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_one_color_in_any_mode_is_doubted(color: tuple[int, int, int], mode: str) -> None:
    image = Image.new("RGB", (40, 30), color).convert(mode, dither=Image.Dither.NONE)
    assert doubts(encode(image, "PNG")) == [("one_color", "one color only")]


def test_a_single_pixel_is_one_color_and_a_single_other_pixel_is_two() -> None:
    assert doubts(encode(Image.new("RGB", (1, 1)), "PNG")) == [("one_color", "one color only")]
    image = Image.new("RGB", (40, 30), WHITE)
    image.putpixel((39, 29), (255, 255, 200))
    assert doubts(encode(image, "PNG")) == []


@pytest.mark.parametrize(("levels", "doubted"), [(1, True), (2, True), (3, False)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_differences_that_no_screen_shows_are_doubted(
    mode: str, levels: int, doubted: bool
) -> None:
    image = Image.fromarray(np.full((40, 30), 100, np.uint8)).convert(mode)
    for k in range(40):
        image.putpixel(
            (k % 30, k), (100 + k % (levels + 1),) * 3 if mode == "RGB" else 100 + k % (levels + 1)
        )
    why = "one color only, but for 2 levels of 255"
    assert doubts(encode(image, "PNG")) == ([("one_color", why)] if doubted else [])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_a_drawing_that_vanishes_on_the_background_names_the_background(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(drawing(WHITE), kind, **options)
    why = "one color only on data.background [255, 255, 255]; try another"
    assert doubts(content) == [("one_color", why)]
    assert doubts(content, background=(128, 128, 128)) == []
    black = encode(drawing((0, 0, 0)), kind, **options)
    why = "one color only on data.background [0, 0, 0]; try another"
    assert doubts(black, background=(0, 0, 0)) == [("one_color", why)]


def test_gray_drawings_with_alpha_and_marked_colors_vanish_too() -> None:
    why = "one color only on data.background [255, 255, 255]; try another"
    assert doubts(encode(drawing(WHITE, "LA"), "PNG")) == [("one_color", why)]
    marked = Image.new("L", (20, 20), 255)
    marked.paste(7, (0, 0, 10, 20))
    assert doubts(encode(marked, "PNG", transparency=7)) == [("one_color", why)]


def test_no_background_helps_what_is_transparent_all_over() -> None:
    image = noise(mode="RGBA")
    image.putalpha(0)
    why = "one color only: every pixel is transparent"
    assert doubts(encode(image, "PNG")) == [("one_color", why)]


def test_an_even_area_of_a_jpeg_is_doubted_and_a_photo_is_not() -> None:
    even = encode(Image.new("RGB", (64, 64), (90, 120, 33)), "JPEG", quality=40)
    assert doubts(even) == [("one_color", "one color only")]
    assert doubts(encode(noise(), "JPEG")) == []
