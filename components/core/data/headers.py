"""What a file says of itself, and may say, before any of its pixels is decoded."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Literal

from PIL.ImageFile import ImageFile
from PIL.PpmImagePlugin import PpmImageFile

from components.core.data.containers import Format, InvalidImage, pnm, webp

SideRule = Literal["min_side", "max_side", "max_aspect_ratio"]

# What is wrong with a side, or with their ratio, by the rule that says so.
WRONG: Mapping[SideRule, Callable[..., str]] = MappingProxyType(
    {
        "min_side": "shorter side {:,} px".format,
        "max_side": "longer side {:,} px".format,
        "max_aspect_ratio": "sides are {:.1f} : 1".format,
    }
)

# No photograph has more of it; Pillow keeps it several times over, and we use little of it.
LARGEST_METADATA = 64 << 20
# Four channels of 16 bits; GIF packs one of 8 bits into codes of at most 12.
_BYTES_PER_PIXEL, _BYTES_PER_PIXEL_OF_GIF = 8, 2


class InvalidSides(InvalidImage):
    """The image may be sound, but its sides break a rule: it was not decoded.

    Attributes:
        rule: that it breaks.
        width: pixels, perhaps before orientation.
        height: pixels, likewise.
    """

    def __init__(self, rule: SideRule, reason: str, size: tuple[int, int], kind: Format) -> None:
        super().__init__(reason, kind)
        self.rule: SideRule = rule
        self.width, self.height = size


@dataclass(frozen=True)
class SideLimits:
    """The sides that an image may have, in pixels, both ends allowed; all of them by default."""

    min_side: float = 0
    max_side: float = inf
    max_aspect_ratio: float = inf

    def broken(self, width: int, height: int) -> tuple[SideRule, str] | None:
        """The first rule that an image of this size breaks, and how."""
        shorter, longer = sorted((width, height))
        if shorter < self.min_side:
            return "min_side", WRONG["min_side"](shorter)
        if longer > self.max_side:
            return "max_side", WRONG["max_side"](longer)
        ratio = longer / max(shorter, 1)
        if ratio > self.max_aspect_ratio:
            return "max_aspect_ratio", WRONG["max_aspect_ratio"](ratio)
        return None


ANY_SIDES = SideLimits()


@dataclass(frozen=True)
class HeaderRules:
    """What a header may state.

    Attributes:
        max_pixels: more are refused.
        several: whether animations and files of several pages may be.
        sides: of the image.
    """

    max_pixels: int
    several: bool
    sides: SideLimits

    def check_file(self, content: bytes, kind: Format) -> None:
        """Refuse what Pillow had better not open: where opening alone costs as much as the file.

        Raises:
            InvalidImage: by the size that the first bytes state.
        """
        if size := _SIZES[kind](content) if kind in _SIZES else None:
            self._check_size(size, len(content), kind)

    def check(self, image: ImageFile, content: bytes, kind: Format) -> None:
        """Refuse by what Pillow has read: all but the pixels.

        Raises:
            InvalidImage: too many pixels or bytes, sides that may not be, or several images.
        """
        self._check_size(image.size, len(content), kind)
        if broken := self.sides.broken(*image.size):
            raise InvalidSides(*broken, image.size, kind)
        several = getattr(image, "is_animated", False) or (
            isinstance(image, PpmImageFile) and pnm.has_next_image(content, image)
        )
        if several and not self.several:
            raise InvalidImage("an animation or several pages", kind)

    def _check_size(self, size: tuple[int, int], length: int, kind: Format) -> None:
        pixels = size[0] * size[1]
        if pixels > self.max_pixels:
            raise InvalidImage(f"{pixels:,} pixels, more than {self.max_pixels:,}", kind)
        each = _BYTES_PER_PIXEL_OF_GIF if kind == "GIF" else _BYTES_PER_PIXEL
        most = pixels * each + LARGEST_METADATA
        if length > most:
            text = f"{length:,} bytes, more than the {most:,} that its pixels can take"
            raise InvalidImage(text, kind)


def _gif_size(content: bytes) -> tuple[int, int] | None:
    """Of the logical screen; Pillow adds what a frame has beyond it."""
    width, height = struct.unpack_from("<2H", content.ljust(10, b"\0"), 6)
    return width, height


_SIZES: Mapping[Format, Callable[[bytes], tuple[int, int] | None]] = MappingProxyType(
    {"WEBP": webp.size, "GIF": _gif_size}
)
