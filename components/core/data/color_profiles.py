"""Embedded ICC profiles: what the numbers of an image mean, carried over to sRGB.

Networks, and the weights they start from, know sRGB. A photo in Display P3, Adobe RGB or ProPhoto
that is read as sRGB looks pale; ink without its profile looks garish.
"""

from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# Black point compensation, as photo editors do: the darkest ink becomes black.
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC

# The profiles that are called sRGB differ by their rounding: nothing of it can be seen.
_ROUNDING = 2
_COLOR_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in sRGB: mode L stays L, CMYK becomes RGB, alpha is kept.

    An image without a profile, with a broken one, with one of another color space than its own, or
    with sRGB itself is returned as it is. Safe to call from several threads.

    Args:
        image: mode L, LA, RGB, RGBA or CMYK; any other is returned as it is.
        profile: as embedded in the file.
    """
    if not profile:
        return image
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        opaque = to_srgb(image.convert(image.mode[:-1]), profile)
        opaque.putalpha(alpha)
        return opaque
    if image.mode == "L":
        curve = _gray_curve(profile)
        return image if curve is None else image.point(curve)
    transform = _transform(profile, image.mode) if image.mode in _COLOR_SPACES else None
    return image if transform is None else transform.apply(image)


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB; None where nothing has to be done, or can be."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != _COLOR_SPACES[mode]:
            return None
        srgb = ImageCms.createProfile("sRGB")
        # gray is looked up once for 256 tones: without the shortcut, which is coarse near black
        flags = _FLAGS | ImageCms.Flags.NOOPTIMIZE if mode == "L" else _FLAGS
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", _INTENT, flags)
        if mode != "CMYK" and _difference(transform, mode) <= _ROUNDING:
            return None
    except Exception:  # noqa: BLE001 - broken metadata is no reason to refuse valid pixels
        return None
    return transform


def _difference(transform: ImageCms.ImageCmsTransform, mode: str) -> int:
    """The largest change of a channel over the whole color space, levels."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    probe = Image.fromarray(colors) if mode == "RGB" else Image.fromarray(_ramp())
    before = np.asarray(probe.convert("RGB")).astype(int)
    return int(np.abs(before - np.asarray(transform.apply(probe))).max())


@lru_cache(maxsize=32)
def _gray_curve(profile: bytes) -> list[int] | None:
    """What each gray becomes: gray needs a table only."""
    transform = _transform(profile, "L")
    if transform is None:
        return None
    curve: list[int] = np.asarray(transform.apply(Image.fromarray(_ramp())))[0, :, 1].tolist()
    return curve


def _ramp() -> NDArray[np.uint8]:
    return np.arange(256, dtype=np.uint8)[None, :]
