"""Images of more than 8 bits a sample, as 8-bit images."""

import sys
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.ImageFile import _Tile as Tile
from PIL.PpmImagePlugin import PpmImageFile

from components.core.data import value_range
from components.core.data.containers import Format, InvalidImage, pnm, tiff

# Of a color sample of 16 bits Pillow keeps the high byte; told the other byte order, the low one.
_SWAPPED = "B" if sys.byteorder == "little" else "L"
_CHANNELS = frozenset("RGBA")
# High bytes below it: at most 14 bits are used.
_DARK = 64


def to_8_bit(
    image: ImageFile, content: bytes, kind: Format, *, white_level: int | None, inverted: bool
) -> tuple[Image.Image, str]:
    """An opened image of any depth with 8 bits a sample, and why its range may be another.

    Args:
        image: opened by Pillow, not loaded; one of at most 8 bits is returned as it is, loaded.
        content: the file.
        kind: its format.
        white_level: the setting.
        inverted: whether gray of over 8 bits has white as zero.

    Raises:
        InvalidImage: a kind of number that is not read, or samples above white.
    """
    if kind == "TIFF":
        _correct_separate_planes(image, content)
    # of PNG and TIFF: the names of Pillow's "raw modes" end with the bits and order of a sample
    rawmode = _rawmode(image.tile[0]) if image.tile else ""
    if isinstance(image, PpmImageFile) and (stored := pnm.samples(content, image)):
        samples, stated = stored
    elif image.mode.startswith(("I", "F")):
        samples = _gray_samples(image, kind)
        stated = 4_095 if rawmode == "I;12" else value_range.FULL_RANGE
    elif ";16" in rawmode:
        return _color_to_8_bit(image, content, kind, white_level)
    else:
        image.load()
        return image, ""
    largest, white = int(samples.max()), value_range.white_of(stated, white_level)
    value_range.check_range(largest, white, kind)
    shown = (white - samples).astype(np.uint16) if inverted else samples
    eight_bit = Image.fromarray(value_range.to_8_bit(shown, white))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        eight_bit.putalpha(Image.fromarray(((samples != transparent) * 255).astype(np.uint8)))
    return eight_bit, value_range.doubt(largest, stated, white_level)


def _rawmode(tile: Tile) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args)


def _with_rawmode(tile: Tile, rawmode: str) -> Tile:
    rest = tile.args[1:] if isinstance(tile.args, tuple) else None
    return tile._replace(args=rawmode if rest is None else (rawmode, *rest))


def _correct_separate_planes(image: ImageFile, content: bytes) -> None:
    """Of uncompressed color in one plane for each channel Pillow forgets that it has 16 bits."""
    if image.tile and _rawmode(image.tile[0]) in _CHANNELS and tiff.bits_per_sample(content) == 16:
        depth = ";16L" if content[:2] == b"II" else ";16B"
        image.tile = [_with_rawmode(tile, _rawmode(tile) + depth) for tile in image.tile]


def _gray_samples(image: ImageFile, kind: Format) -> NDArray[np.uint16]:
    if image.mode == "F":
        raise InvalidImage("32-bit float pixels; store 8 or 16 bits", kind)
    gray = np.asarray(image)
    if image.mode == "I" and (gray.min() < 0 or gray.max() > value_range.FULL_RANGE):
        raise InvalidImage("32-bit integer pixels; store 8 or 16 bits", kind)
    return gray.astype(np.uint16, copy=False)


def _color_to_8_bit(
    image: ImageFile, content: bytes, kind: Format, white_level: int | None
) -> tuple[Image.Image, str]:
    """Color of 16 bits, alpha included. Low bytes are read only where they can matter."""
    premultiplied = _rawmode(image.tile[0]).startswith("RGBa")
    image.load()
    high = np.asarray(image)
    bands = 3 if image.mode == "RGBA" else high.shape[-1]
    transparent = image.info.get("transparency")
    dark = high[..., :bands].max() < _DARK
    if white_level is None and transparent is None and (premultiplied or not dark):
        return image, ""
    if premultiplied:
        # Pillow divides by alpha while it reads: there are no low bytes to be had
        raise InvalidImage("16 bits premultiplied by alpha, which have no white level", kind)
    low = _low_bytes(image, content)
    samples = np.bitwise_or(high.astype(np.uint16) << 8, low, dtype=np.uint16)
    color = samples[..., :bands]
    largest = int(color.max())
    white = value_range.white_of(value_range.FULL_RANGE, white_level)
    value_range.check_range(largest, white, kind)
    eight_bit = Image.fromarray(value_range.to_8_bit(color, white), image.mode[:bands])
    if image.mode == "RGBA":
        eight_bit.putalpha(_alpha(samples[..., 3], white))
    elif transparent is not None:
        opaque = (color != np.array(transparent, np.uint16)).any(axis=-1)
        eight_bit.putalpha(Image.fromarray((opaque * 255).astype(np.uint8)))
    return eight_bit, value_range.doubt(largest, value_range.FULL_RANGE, white_level)


def _alpha(samples: NDArray[np.uint16], white: int) -> Image.Image:
    """Alpha uses all 16 bits, or ends where the colors do."""
    white = white if samples.max() <= white else value_range.FULL_RANGE
    return Image.fromarray(value_range.to_8_bit(samples, white))


def _low_bytes(image: ImageFile, content: bytes) -> NDArray[np.uint8]:
    """The low bytes of color samples, in the layout of the image's mode."""
    with type(image)(BytesIO(content)) as again:
        _correct_separate_planes(again, content)
        gray = _rawmode(again.tile[0]) == "LA;16B"
        # gray and alpha of 16 bits are as long as four channels of 8: high, low, high, low
        again.tile = [
            _with_rawmode(tile, "RGBA" if gray else _other_order(_rawmode(tile)))
            for tile in again.tile
        ]
        found = np.asarray(again)
    return found[..., [1, 1, 1, 3]] if gray else found


def _other_order(rawmode: str) -> str:
    return rawmode[:-1] + {"B": "L", "L": "B", "N": _SWAPPED}[rawmode[-1]]
