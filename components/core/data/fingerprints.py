"""Digests and fingerprints of images: equal for equal pixels, close for near duplicates."""

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Raise it when the same pixels give another fingerprint: known ones are then computed again.
FINGERPRINT_VERSION = 2

# A copy that lost up to 5 % on each side is met by one of these views of the original to within
# 0.75 %, which is a third of a pixel.
CUTS = (0.0, 0.015, 0.03, 0.045)
_SIDE = 48
_GRAY_SIDE = 36

# Frequencies weaker than this share of their mean are none: of a symmetric image the odd ones are
# only the noise of its encoding. Measured: docs/decisions/0036.
_WEAK = 0.03
# The same of a flat image: what rounding to gray levels makes of one.
_FLAT = 10.0

# What is known of an image, 2.6 kB. The first five fields are what the search keeps in memory.
FINGERPRINT = np.dtype(
    [
        # 64-bit perceptual hashes of the image as it is, flipped left-right, top-bottom, and both
        ("hashes", "<u8", (4,)),
        # and of its insides without 1.5, 3 and 4.5 % on each side
        ("inside", "<u8", (len(CUTS) - 1,)),
        # brightness without its mean, scaled to -127..127
        ("luma", "i1", (8, 8)),
        # Cb and Cr, 0 for gray
        ("chroma", "i1", (2, 4, 4)),
        # the shorter side, pixels
        ("side", "<u2"),
        # of each view, a bit for each of 48 x 48 pixels: brighter than the 3 x 3 around it
        ("sketches", "u1", (len(CUTS), _SIDE**2 // 8)),
        # the whole image
        ("gray", "u1", (_GRAY_SIDE, _GRAY_SIDE)),
    ]
)
KEY = ["hashes", "inside", "luma", "chroma", "side"]

Fingerprints = NDArray[np.void]


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
    # Most images in color show it in their first row: their planes need not be taken apart.
    first = np.asarray(image.crop((0, 0, image.width, 1)))
    if (first != first[..., :1]).any():
        return b""
    red, green, blue = (channel.tobytes() for channel in image.split())
    return red if red == green == blue else b""


class Views(NamedTuple):
    """Small copies of an image: all that its fingerprint is computed from.

    Attributes:
        gray: the image and its insides, 48 x 48 each.
        whole: the image, 36 x 36 gray.
        color: the image, 4 x 4 YCbCr; empty for a gray one.
        side: the shorter side, pixels.
    """

    gray: bytes
    whole: bytes
    color: bytes
    side: int


def views(image: Image.Image) -> Views:
    """The image and its inside without 1.5, 3 and 4.5 % on each side.

    Args:
        image: mode RGB or L, opaque.
    """
    # Whole pixels first, which is quick; twice the size of a view is left.
    factor = max(1, min(image.size) // (2 * _SIDE))
    small = image.reduce(factor)
    width, height = image.width / factor, image.height / factor
    gray = small if small.mode == "L" else small.convert("L")
    boxes = [(c * width, c * height, (1 - c) * width, (1 - c) * height) for c in CUTS]
    color = b""
    if image.mode != "L":
        box = Image.Resampling.BOX
        color = small.resize((4, 4), box, box=boxes[0]).convert("YCbCr").tobytes()
    return Views(
        gray=b"".join(_resized(gray, _SIDE, box) for box in boxes),
        whole=_resized(gray, _GRAY_SIDE, boxes[0]),
        color=color,
        side=min(*image.size, 0xFFFF),
    )


def fingerprints(images: Sequence[Views]) -> Fingerprints:
    """What near duplicates are found by: one FINGERPRINT of each image.

    The hashes are of low frequencies alone, the sketches are the finest texture. Many at once are
    quicker: each call of NumPy holds up the other threads.
    """
    gray = _pixels((image.gray for image in images), (len(CUTS), _SIDE, _SIDE)).astype(np.int16)
    hashes = _hashes(gray)
    found = np.zeros(len(images), FINGERPRINT)
    found["hashes"] = hashes[:, 0]
    found["inside"] = hashes[:, 1:, 0]
    found["luma"] = _luma(gray[:, 0])
    colored = np.array([image.color != b"" for image in images], np.bool_)
    color = _pixels((image.color for image in images), (4, 4, 3)).astype(np.int16) - 128
    found["chroma"][colored] = color[..., 1:].transpose(0, 3, 1, 2)
    found["side"] = [image.side for image in images]
    found["sketches"] = _sketches(gray)
    found["gray"] = _pixels((image.whole for image in images), (_GRAY_SIDE, _GRAY_SIDE))
    return found


def fingerprint(image: Image.Image) -> Fingerprints:
    """The FINGERPRINT of one image, mode RGB or L, opaque: an array of one."""
    return fingerprints([views(image)])


def perceptual_hash(fingerprint: Fingerprints) -> str:
    """The 64-bit hash of the whole image, 16 hex digits."""
    return f"{int(fingerprint['hashes'][0, 0]):016x}"


def _resized(gray: Image.Image, side: int, box: tuple[float, float, float, float]) -> bytes:
    return gray.resize((side, side), Image.Resampling.BILINEAR, box=box).tobytes()


def _pixels(images: Iterable[bytes], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """(images, *shape)."""
    return np.frombuffer(b"".join(images), np.uint8).reshape(-1, *shape)


def _hashes(views: NDArray[np.int16]) -> NDArray[np.uint64]:
    """(images, views, mirrorings): the signs of the 8 x 8 lowest frequencies, but for the mean.

    After C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, who
    compares with the median. A mirror changes the sign of the odd frequencies of its direction,
    and nothing else.
    """
    basis = _dct_basis()
    low = basis @ views @ basis.T
    low[..., 0, 0] = 0
    threshold = np.maximum(_WEAK * np.abs(low).mean(axis=(-2, -1)), _FLAT)
    bits = low[:, :, None] * _mirror_signs() > threshold[..., None, None, None]
    packed = np.packbits(bits.reshape(*views.shape[:2], 4, 64), axis=-1, bitorder="little")
    return packed.view("<u8")[..., 0]


def _luma(whole: NDArray[np.int16]) -> NDArray[np.int8]:
    """(images, 8, 8)."""
    means = whole.reshape(-1, 8, _SIDE // 8, 8, _SIDE // 8).mean(axis=(2, 4))
    means -= means.mean(axis=(1, 2), keepdims=True)
    largest = np.maximum(np.abs(means).max(axis=(1, 2), keepdims=True), 1)
    scaled: NDArray[np.int8] = np.round(127 * means / largest).astype(np.int8)
    return scaled


def _sketches(views: NDArray[np.int16]) -> NDArray[np.uint8]:
    """(images, views, bytes): the bits of all rows, the leftmost of the topmost row lowest."""
    padded = np.pad(views, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    brighter = (9 * views > around).reshape(*views.shape[:2], _SIDE**2)
    return np.packbits(brighter, axis=-1, bitorder="little")


@cache
def _dct_basis() -> NDArray[np.float64]:
    """Rows 0..7 of the DCT-II matrix of 48 points: cos(pi (2n + 1) k / 96), of equal norm."""
    k, n = np.arange(8)[:, None], np.arange(_SIDE)[None, :]
    return np.cos(math.pi * (2 * n + 1) * k / (2 * _SIDE)) * np.where(k, 1, math.sqrt(0.5))


@cache
def _mirror_signs() -> NDArray[np.int8]:
    """(4, 8, 8): what the frequencies of a mirrored image are multiplied by."""
    across = np.broadcast_to(np.where(np.arange(8) % 2, -1, 1), (8, 8)).astype(np.int8)
    return np.stack([np.ones_like(across), across, across.T, across * across.T])
