"""What a picture is, whatever file holds it: equal for equal pixels, close for look-alikes."""

import hashlib
import math
import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixel_digest(picture: Image.Image) -> str:
    """SHA-256 over width, height and pixels, in hex: equal for every encoding of a picture.

    The pixels are the RGB bytes, or one channel when all three are equal: grey has one digest,
    whether a file stores it as grey or as colour.
    """
    sha = hashlib.sha256(struct.pack("<2I", *picture.size))
    sha.update(_grey_plane(picture) or picture.tobytes())
    return sha.hexdigest()


def _grey_plane(picture: Image.Image) -> bytes:
    """One channel of a picture without colour; empty for one with colour."""
    if picture.mode == "L":
        return picture.tobytes()
    red, green, blue = (channel.tobytes() for channel in picture.split())
    return red if red == green == blue else b""


def perceptual_hash(picture: Image.Image) -> str:
    """64-bit DCT hash, 16 hex digits: pictures that look alike differ in few bits.

    C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010: grey,
    32 x 32, DCT-II, the 8 x 8 lowest frequencies without the constant row and column, each against
    their median.
    """
    small = picture.resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2.0).convert("L")
    waves = _dct_rows()
    # Rounded: rounding errors of a flat picture must not become bits.
    low = np.round(waves @ np.asarray(small, dtype=np.float64) @ waves.T, 3)
    # Above the lower median is above the median, and a sort is three times as fast.
    return np.packbits(low > np.sort(low, axis=None)[31]).tobytes().hex()


@cache
def _dct_rows() -> NDArray[np.float64]:
    """Rows 1..8 of the 32-point DCT-II matrix, unscaled: cos(pi (2n + 1) k / 64)."""
    k, n = np.arange(1, 9)[:, None], np.arange(32)[None, :]
    return np.cos(math.pi * (2 * n + 1) * k / 64)
