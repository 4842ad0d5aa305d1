"""Digests and fingerprints of images: equal for equal pixels, close for near duplicates."""

import hashlib
import math
import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# A copy that lost up to 5 % on each side is met by one of these views of the original to within
# 0.75 %, which is half a pixel of a sketch.
_CUTS = (0.0, 0.015, 0.03, 0.045)
_SIDE = 64
_REACH = 2
FINGERPRINT_SHAPE = (len(_CUTS), 1 + _SIDE)


def pixel_digest(image: Image.Image) -> str:
    """SHA-256 over width, height and pixels, in hex: equal for every encoding of an image.

    The pixels are the RGB bytes, or one channel when all three are equal: gray has one digest,
    whether a file stores it as gray or as color.
    """
    sha = hashlib.sha256(struct.pack("<2I", *image.size))
    sha.update(_gray_plane(image) or image.tobytes())
    return sha.hexdigest()


def _gray_plane(image: Image.Image) -> bytes:
    """One channel of an image without color; empty for one with color."""
    if image.mode == "L":
        return image.tobytes()
    red, green, blue = (channel.tobytes() for channel in image.split())
    return red if red == green == blue else b""


def fingerprint(image: Image.Image) -> NDArray[np.uint64]:
    """What near duplicates are found by: FINGERPRINT_SHAPE words, one row per view of the image.

    The views are the image and its inside without 1.5, 3 and 4.5 % on each side, gray, 64 x 64.
    The first word of a row is the view's 64-bit perceptual hash, the others are its sketch: a bit
    for each pixel, set where it is brighter than the 5 x 5 pixels around it. The sketch sees the
    texture that the hash, of low frequencies alone, does not.
    """
    views = _views(image)
    return np.concatenate([_hashes(views)[:, None], _sketches(views)], axis=1)


def perceptual_hash(fingerprint: NDArray[np.uint64]) -> str:
    """The 64-bit hash of the whole image, 16 hex digits."""
    return f"{int(fingerprint[0, 0]):016x}"


def mirrored_bits() -> NDArray[np.uint64]:
    """What to XOR a hash with for the image as it is, flipped left-right, top-bottom, and both.

    A mirror changes the sign of the odd frequencies of its direction, and nothing else.
    """
    odd = np.arange(1, 9) % 2 == 1
    across, down = np.broadcast_to(odd, (8, 8)), np.broadcast_to(odd[:, None], (8, 8))
    return _packed(np.stack([np.zeros((8, 8), bool), across, down, across ^ down]).reshape(4, 64))


def _views(image: Image.Image) -> NDArray[np.int16]:
    """(views, 64, 64) gray."""
    # Whole pixels first, which is quick; twice the size of a view is left.
    gray = image.reduce(max(1, min(image.size) // (2 * _SIDE))).convert("L")
    width, height = gray.size
    boxes = [(c * width, c * height, (1 - c) * width, (1 - c) * height) for c in _CUTS]
    small = [gray.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=box) for box in boxes]
    return np.stack([np.asarray(view) for view in small]).astype(np.int16)


def _hashes(views: NDArray[np.int16]) -> NDArray[np.uint64]:
    """The signs of the 8 x 8 lowest frequencies of the DCT-II, without the constant ones.

    After C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, who
    compares with the median; signs make the hash of a mirrored image known without computing it.
    """
    basis = _dct_basis()
    # Rounded: rounding errors of a flat image must not become bits.
    low = np.round(basis @ views @ basis.T, 2)
    return _packed((low > 0).reshape(len(views), 64))


def _sketches(views: NDArray[np.int16]) -> NDArray[np.uint64]:
    """(views, 64): a word per row of the image, its lowest bit the leftmost pixel."""
    width = 2 * _REACH + 1
    padded = np.pad(views, ((0, 0), (_REACH, _REACH), (_REACH, _REACH)), mode="edge")
    rows, around = padded[:, :_SIDE].copy(), np.zeros_like(views)
    for k in range(1, width):
        rows += padded[:, k : k + _SIDE]
    for k in range(width):
        around += rows[:, :, k : k + _SIDE]
    return _packed(views * width**2 > around)  # at most 255 * 25: fits 16 bits


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Words of 64 bits along the last axis, the first one lowest."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0].astype(np.uint64)


@cache
def _dct_basis() -> NDArray[np.float64]:
    """Rows 1..8 of the 64-point DCT-II matrix, unscaled: cos(pi (2n + 1) k / 128)."""
    k, n = np.arange(1, 9)[:, None], np.arange(_SIDE)[None, :]
    return np.cos(math.pi * (2 * n + 1) * k / (2 * _SIDE))
