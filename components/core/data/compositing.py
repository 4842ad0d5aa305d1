"""Any mode to opaque 8-bit sRGB, and a word when nothing can be seen on it."""

import numpy as np
from PIL import Image

from components.core.data import color_profiles

# Levels between the darkest and the brightest pixel of a channel that no screen shows: what JPEG
# makes of an even area.
_INVISIBLE = 2


def flatten(
    image: Image.Image, profile: bytes | None, background: tuple[int, int, int]
) -> tuple[Image.Image, str]:
    """An 8-bit image of any mode as RGB; opaque gray stays L.

    Args:
        image: loaded.
        profile: the embedded ICC profile, if there is one.
        background: RGB behind transparent pixels; it is sRGB already.

    Returns:
        The image, and why it shows nothing; empty when it shows something.
    """
    if not image.has_transparency_data:
        if image.mode not in ("L", "RGB", "CMYK"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        opaque = color_profiles.to_srgb(image, profile)
        opaque = opaque.convert("RGB") if opaque.mode == "CMYK" else opaque
        return opaque, _one_color(opaque)
    gray = image.mode in ("LA", "La", "L", "1")
    see_through = image.convert("LA") if gray else image.convert("RGBA")
    rgba = color_profiles.to_srgb(see_through, profile).convert("RGBA")
    flat = Image.new("RGB", rgba.size, background)
    flat.paste(rgba, mask=rgba)
    found = _one_color(flat)
    if found and rgba.getchannel("A").getbbox() is None:
        return flat, f"{found}: every pixel is transparent"
    return flat, f"{found} on data.background {list(background)}; try another" if found else ""


def _one_color(image: Image.Image) -> str:
    # Four pixels first: they spare almost every photo the look at all of its pixels.
    for view in (image.resize((2, 2), Image.Resampling.NEAREST), image):
        largest = _largest_range(view)
        if largest > _INVISIBLE:
            return ""
    return f"one color only, but for {_INVISIBLE} levels of 255" if largest else "one color only"


def _largest_range(image: Image.Image) -> int:
    """Levels between the darkest and the brightest pixel, of the channel where they are most."""
    extrema = np.asarray(image.getextrema()).reshape(-1, 2)
    return int((extrema[:, 1] - extrema[:, 0]).max())
