"""How alike two images are, by their fingerprints: pairs of rows in, a number per pair out."""

import math
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.core.data.fingerprints import CUTS, FINGERPRINT, Fingerprints

# Measured on solar cells, emoji, clip art and photographs: docs/decisions/0036.
_MIN_LUMA = 0.75  # correlation of 8 x 8 brightness below which nothing else is looked at
_GRAY = 2.0  # mean Cb and Cr, of 255, of an image that counts as gray
_COLOR_FLOOR, _COLOR_SHARE = 6.0, 0.5  # color that a copy may lose: values, and share of its own
_MIN_CORRELATION = 0.9  # of gray views that differ by encoding alone
_NOISE, _BLUR = 20.0, 0.21  # gray levels, and share of contrast, that a tolerance of 1 lets change

_PAIRS_AT_ONCE = 256  # what bounds memory, some 10 MB
_SKETCH_SIDE = int((8 * FINGERPRINT["sketches"].shape[1]) ** 0.5)

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Scalar = TypeVar("Scalar", bound=np.generic)


def layouts_agree(
    ones: Fingerprints, others: Fingerprints, mirror: int, view: int
) -> NDArray[np.bool_]:
    """Whether brightness and color are spread alike: cheap, and true of near duplicates.

    An image without color has the colors of every other one. Brightness is compared of whole
    images only: what a crop takes away may be much of it.

    Args:
        ones: fields of KEY.
        others: fields of KEY, as many.
        mirror: of `ones`: 1 left-right, 2 top-bottom, 3 both, 0 none.
        view: of `others`: which of CUTS.
    """
    color = mirrored(ones["chroma"], mirror).astype(np.float32), others["chroma"].astype(np.float32)
    one, other = (_mean_square(values) for values in color)
    change = _mean_square(color[0] - color[1])
    gray = np.minimum(one, other) < _GRAY**2
    agree: NDArray[np.bool_] = gray | (
        change <= _COLOR_FLOOR**2 + _COLOR_SHARE**2 * np.maximum(one, other)
    )
    if view == 0:
        agree &= _correlation(mirrored(ones["luma"], mirror), others["luma"]) >= _MIN_LUMA
    return agree


def sketch_similarity(ones: Bytes, others: Bytes) -> NDArray[np.float64]:
    """Correlation of the bits of each pair of rows, -1 to 1; 0 where all bits of one are equal."""
    size = 8 * ones.shape[1]
    one, other, both = (_count(bits) for bits in (ones, others, ones & others))
    spread = np.sqrt(np.maximum(one * (size - one) * other * (size - other), 1))
    correlation: NDArray[np.float64] = (size * both - one * other) / spread
    return correlation


def mirrored_sketches(sketches: Bytes, mirror: int) -> Bytes:
    """Sketches of the mirrored images; `mirror` as in `layouts_agree`."""
    if not mirror:
        return sketches
    bits = np.unpackbits(sketches, axis=1, bitorder="little")
    flipped = mirrored(bits.reshape(-1, _SKETCH_SIDE, _SKETCH_SIDE), mirror)
    packed: Bytes = np.packbits(flipped.reshape(len(sketches), -1), axis=1, bitorder="little")
    return packed


def encoding_similarity(
    ones: Fingerprints, others: Fingerprints, mirror: int, view: int, tolerance: float
) -> NDArray[np.float64]:
    """Correlation of gray views that differ by no more than encoding and resizing; otherwise 0.

    Both are compared at the finest scale that the smaller image has, up to 32 x 32 pixels, without
    their low frequencies. What is left of one after the best curve of brightness a x + b x^2 of
    the other is noise: of encoding, which is the weaker the more pixels a view is the mean of, and
    of resizing, a share of the contrast.

    Args:
        ones: rows of FINGERPRINT.
        others: rows of FINGERPRINT, as many.
        mirror: of `ones`, as in `layouts_agree`.
        view: of `others`: which of CUTS.
        tolerance: 0 = only equal views; 0.35 = JPEG and WebP of quality 50.
    """
    sides = np.minimum(ones["side"], others["side"])
    found = np.zeros(len(ones))
    scales = np.where(sides >= 64, 32, np.where(sides >= 32, 16, 8))
    for scale in (32, 16, 8):
        rows = np.flatnonzero(scales == scale)
        for first in range(0, len(rows), _PAIRS_AT_ONCE):
            part = rows[first : first + _PAIRS_AT_ONCE]
            one = _view(mirrored(ones["gray"][part], mirror), 0, scale)
            other = _view(others["gray"][part], view, scale)
            pixels = sides[part] / scale
            found[part] = _within_noise(one, other, tolerance, pixels)
    return found


def mirrored(images: NDArray[Scalar], mirror: int) -> NDArray[Scalar]:
    """Flip the last two axes; `mirror` as in `layouts_agree`."""
    images = images[..., ::-1] if mirror & 1 else images
    return images[..., ::-1, :] if mirror & 2 else images


def _within_noise(
    one: Floats, other: Floats, tolerance: float, pixels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`encoding_similarity` of views whose pixels are the means of `pixels`^2 pixels."""
    detail, other_detail = _high_pass(one), _high_pass(other)
    left = np.minimum(
        _unexplained(other_detail, detail, _high_pass(one * one / 255)),
        _unexplained(detail, other_detail, _high_pass(other * other / 255)),
    )
    contrast = np.maximum(_mean_square(detail), _mean_square(other_detail))
    allowed = tolerance**2 * ((_NOISE / pixels) ** 2 + _BLUR**2 * contrast)
    centered = (view - view.mean(axis=(1, 2), keepdims=True) for view in (one, other))
    correlation = _correlation(*centered)
    alike = (left <= allowed) & (correlation >= _MIN_CORRELATION)
    return np.where(alike, correlation, 0).astype(np.float64)


def _unexplained(target: Floats, first: Floats, second: Floats) -> Floats:
    """Mean square that a least-squares fit of `target` by the other two leaves, for each pair."""
    f, s, t = (_flat(values) for values in (first, second, target))
    ff, ss, fs, ft, st = (_mean_product(*two) for two in ((f, f), (s, s), (f, s), (f, t), (s, t)))
    ss = ss - fs**2 / np.maximum(ff, 1e-6)  # of what `first` does not explain of `second`
    st = st - fs * ft / np.maximum(ff, 1e-6)
    explained = ft**2 / np.maximum(ff, 1e-6) + st**2 / np.maximum(ss, 1e-3)
    rest: Floats = np.maximum(_mean_product(t, t) - explained, 0)
    return rest


def _view(gray: NDArray[np.generic], view: int, scale: int) -> Floats:
    across = _resampling(gray.shape[-1], CUTS[view], scale)
    resized: Floats = across @ gray.astype(np.float32) @ across.T
    return resized


@cache
def _resampling(size: int, cut: float, scale: int) -> Floats:
    """(scale, size): bilinear, antialiased resize of `size` points without `cut` at each end."""
    step = (1 - 2 * cut) * size / scale
    centers = cut * size + step * (np.arange(scale) + 0.5)
    distance = np.abs(np.arange(size) + 0.5 - centers[:, None])
    weights = np.maximum(0, 1 - distance / max(step, 1))
    shares: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _high_pass(views: Floats) -> Floats:
    mean = _mean_of_five(views.shape[-1])
    detail: Floats = views - mean @ views @ mean.T
    return detail


@cache
def _mean_of_five(size: int) -> Floats:
    """(size, size): the mean of five neighbors; beyond the edge its pixel is repeated."""
    weights = np.zeros((size, size), np.float32)
    for offset in range(-2, 3):
        np.add.at(weights, (np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)), 0.2)
    return weights


def _correlation(ones: NDArray[np.generic], others: NDArray[np.generic]) -> Floats:
    """Of values without their means; 0 where one has none left."""
    one, other = (_flat(values.astype(np.float32)) for values in (ones, others))
    spread = np.sqrt(_mean_product(one, one) * _mean_product(other, other))
    correlation: Floats = _mean_product(one, other) / np.maximum(spread, 1e-3)
    return correlation


def _mean_square(values: Floats) -> Floats:
    return _mean_product(_flat(values), _flat(values))


def _flat(images: Floats) -> Floats:
    return images.reshape(len(images), math.prod(images.shape[1:]))


def _mean_product(ones: Floats, others: Floats) -> Floats:
    mean: Floats = np.einsum("ij,ij->i", ones, others) / ones.shape[1]
    return mean


def _count(rows: Bytes) -> NDArray[np.float64]:
    words = np.ascontiguousarray(rows).view(np.uint64)
    counts: NDArray[np.float64] = np.bitwise_count(words).sum(axis=1, dtype=np.float64)
    return counts
