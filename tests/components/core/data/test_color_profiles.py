"""Colors of an embedded profile arrive as sRGB; the right values follow from its definition."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from components.core.data.decoding import decode
from tests import factories
from tests.image_files import (
    ADOBE_RGB,
    D50,
    DISPLAY_P3,
    PROPHOTO,
    SRGB_PRIMARIES,
    encode,
    icc_profile,
    noise,
    png,
    scene,
    to_xyz,
)

SPACES: dict[str, tuple[NDArray[np.float64], float]] = {
    "Display P3": (to_xyz(DISPLAY_P3), 2.2),
    "Adobe RGB (1998)": (to_xyz(ADOBE_RGB), 2.19921875),
    "ProPhoto RGB": (to_xyz(PROPHOTO, D50), 1.80078125),
}
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def srgb_curve(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """From linear to sRGB, 0..1: IEC 61966-2-1."""
    linear = levels.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def expected(image: Image.Image, name: str) -> NDArray[np.float64]:
    """Relative colorimetric: linear, through XYZ of D50, clipped to sRGB."""
    matrix, gamma = SPACES[name]
    linear = (np.asarray(image.convert("RGB")) / 255) ** gamma
    change = np.linalg.inv(to_xyz(SRGB_PRIMARIES)) @ matrix
    return srgb_curve(linear @ change.T) * 255


def read(content: bytes) -> Image.Image:
    formats = ["PNG", "JPEG", "TIFF", "WEBP"]
    params = factories.image_params(formats=formats, background=(9, 8, 7))
    return decode(content, params).pixels


def of(name: str) -> bytes:
    matrix, gamma = SPACES[name]
    return icc_profile(matrix, gamma, name)


SRGB_SAMPLES = [
    round(65_535 * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4))
    for v in np.linspace(0, 1, 1_024)
]
SRGB_PROFILES = [
    icc_profile(to_xyz(SRGB_PRIMARIES), SRGB_SAMPLES, "sRGB IEC61966-2.1"),
    icc_profile(to_xyz(SRGB_PRIMARIES), SRGB_SAMPLES, "no name"),
    ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
]


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("name", SPACES)
def test_wide_gamuts_become_srgb(kind: str, name: str) -> None:
    image = scene()
    found = read(encode(image, kind, icc_profile=of(name), **LOSSLESS[kind]))
    difference = np.abs(np.asarray(found) - expected(image, name))
    assert difference.max() <= 2
    assert np.abs(np.asarray(image) - expected(image, name)).mean() > 3


@pytest.mark.parametrize("name", SPACES)
def test_wide_gamuts_in_a_jpeg_become_srgb(name: str) -> None:
    options: dict[str, Any] = {"quality": 95, "subsampling": 0}
    stored = read(encode(scene(), "JPEG", **options))
    found = read(encode(scene(), "JPEG", icc_profile=of(name), **options))
    assert np.abs(np.asarray(found) - expected(stored, name)).max() <= 2


def test_colors_of_16_bits_and_of_a_palette_become_srgb() -> None:
    name = "Display P3"
    samples = np.asarray(scene()).astype(np.uint16) * 257
    deep = encode(scene(), "PNG", icc_profile=of(name))
    chunk = deep[deep.index(b"iCCP") - 4 : deep.index(b"IDAT") - 4]
    found = read(png(samples, 2, 16, chunk))
    assert np.abs(np.asarray(found) - expected(scene(), name)).max() <= 2
    palette = scene().quantize(32)
    found = read(encode(palette, "PNG", icc_profile=of(name)))
    assert np.abs(np.asarray(found) - expected(palette, name)).max() <= 2


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("profile", SRGB_PROFILES)
def test_srgb_itself_changes_no_pixel(kind: str, profile: bytes) -> None:
    found = read(encode(noise(), kind, icc_profile=profile, **LOSSLESS[kind]))
    assert (np.asarray(found) == np.asarray(noise())).all()


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        bytes(128),
        of("Display P3")[:200],
        of("Display P3")[:128] + bytes(400),
        icc_profile(None, 1.0),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(),
    ],
)
def test_broken_profiles_and_those_of_other_colors_change_no_pixel(profile: bytes) -> None:
    for mode in ("RGB", "RGBA"):
        image = noise(mode=mode)
        for kind, options in LOSSLESS.items():
            found = read(encode(image, kind, icc_profile=profile, **options))
            assert (np.asarray(found) == np.asarray(noise())).all()


@pytest.mark.parametrize("kind", LOSSLESS)
def test_transparency_is_kept_and_the_background_is_srgb_already(kind: str) -> None:
    image = scene().convert("RGBA")
    image.putalpha(Image.new("L", (80, 120), 0).resize((160, 120)))
    image.paste((200, 100, 50, 255), (0, 0, 80, 120))
    found = read(encode(image, kind, icc_profile=of("Adobe RGB (1998)"), **LOSSLESS[kind]))
    assert found.getpixel((159, 0)) == (9, 8, 7)
    color = expected(Image.new("RGB", (1, 1), (200, 100, 50)), "Adobe RGB (1998)")[0, 0]
    assert np.abs(np.asarray(found.getpixel((0, 0))) - color).max() <= 2


def test_a_gray_profile_changes_the_tones_of_gray() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :])
    found = read(encode(ramp, "PNG", icc_profile=icc_profile(None, 1.0)))
    assert found.mode == "L"
    right = srgb_curve(np.arange(256) / 255) * 255
    assert np.abs(np.asarray(found)[0] - right).max() <= 2
    as_srgb = icc_profile(None, SRGB_SAMPLES)
    assert read(encode(ramp, "PNG", icc_profile=as_srgb)).tobytes() == ramp.tobytes()
    with_alpha = Image.merge("LA", (ramp, Image.new("L", ramp.size, 255)))
    half = read(encode(with_alpha, "PNG", icc_profile=icc_profile(None, 1.0)))
    assert np.abs(np.asarray(half.convert("L"))[0] - right).max() <= 2
    # a profile of color says nothing about gray
    assert read(encode(ramp, "PNG", icc_profile=of("Display P3"))).tobytes() == ramp.tobytes()


def test_threads_get_the_same_pixels() -> None:
    contents = [encode(scene(seed=k), "PNG", icc_profile=of(n)) for n in SPACES for k in range(8)]
    one_by_one = [read(content).tobytes() for content in contents]
    with ThreadPoolExecutor(8) as pool:
        assert [image.tobytes() for image in pool.map(read, contents)] == one_by_one
