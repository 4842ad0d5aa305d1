"""PBM, PGM and PPM files (netpbm's P1 to P6), which Pillow all calls PPM."""

import re

import numpy as np
from numpy.typing import NDArray
from PIL.PpmImagePlugin import PpmImageFile

from components.core.data.containers import InvalidImage

_COMMENT = re.compile(rb"#[^\r\n]*")
_NUMBERS = re.compile(rb"\s*\d[\s\d]*")
_NEXT_IMAGE = re.compile(rb"\s*P[1-6]\s+[#\d]")


def samples(content: bytes, image: PpmImageFile) -> tuple[NDArray[np.uint16], int] | None:
    """The samples as stored, (H, W) or (H, W, 3), and the value that means full brightness.

    Args:
        content: the file.
        image: the same file, opened by Pillow and not loaded.

    Returns:
        None where Pillow itself gives the samples: of one bit, or of 0..255 in binary.

    Raises:
        InvalidImage: truncated, or a sample above the stated maximum.
    """
    tile = image.tile[0]
    if image.mode == "1" or (tile.codec_name == "raw" and image.mode != "I"):
        return None
    bands = 3 if image.mode == "RGB" else 1
    count = image.width * image.height * bands
    # Pillow's decoders of other ranges loop over samples in Python, and clip what is too large.
    maximum = _maximum(image)
    if tile.codec_name == "ppm_plain":
        found = _numbers(content[tile.offset :], count)
    else:
        found = np.frombuffer(content, "u1" if maximum < 256 else ">u2", count, tile.offset)
    if not 0 <= found.min() <= found.max() <= maximum:
        raise InvalidImage(f"damaged PPM (a sample above the stated maximum {maximum:,})", "PPM")
    shape = (image.height, image.width, 3)[: 2 + (bands == 3)]
    return found.astype(np.uint16).reshape(shape), maximum


def _numbers(text: bytes, count: int) -> NDArray[np.int64]:
    text = _COMMENT.sub(b" ", text)
    numbers = _NUMBERS.match(text)
    found = np.fromstring(numbers[0], np.int64, sep=" ") if numbers else np.empty(0, np.int64)
    if len(found) < count:
        cut = numbers is None or numbers.end() == len(text)
        raise InvalidImage("truncated" if cut else "damaged PPM (no number)", "PPM")
    return found[:count]


def has_next_image(content: bytes, image: PpmImageFile) -> bool:
    """Whether another image follows the first one of a binary file."""
    tile = image.tile[0]
    if tile.codec_name == "ppm_plain":
        return False
    bands = 3 if image.mode == "RGB" else 1
    bits = 1 if image.mode == "1" else 8 * bands * (1 + (_maximum(image) > 255))
    row = (image.width * bits + 7) // 8
    return _NEXT_IMAGE.match(content, tile.offset + image.height * row) is not None


def _maximum(image: PpmImageFile) -> int:
    """The stated maximum: an argument of the decoder, where that is not Pillow's raw one."""
    codec_name, _, _, args = image.tile[0]
    if codec_name == "raw" or not isinstance(args, tuple):
        return 65_535 if image.mode == "I" else 255
    return int(args[1])
