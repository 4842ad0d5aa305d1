"""Near duplicates: what is found of planted pairs, what is joined wrongly, and how long it takes.

Run: python -m bench.near_duplicates [--images data/images]

Planted pairs are images of the sample and a changed copy of each; no two of the images are near
duplicates, so no chain joins what is not alike. Random pairs are all pairs of the untouched sample;
those joined include its true near duplicates, which nobody has labeled: wafers of one ingot, and
cells photographed twice. The search is timed on 100,000 fingerprints of random bits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from components import validate
from components.core.data import near_duplicates, splits
from components.core.data.fingerprints import FINGERPRINT_SHAPE, fingerprint
from components.core.data.near_duplicates import NearDuplicateParams
from components.io import params

SIMILARITIES = (0.60, 0.65, 0.70, 0.75, 0.80)
PLANTED = 300
MANY = 100_000

Change = Callable[[Image.Image], Image.Image]
Fingerprints = NDArray[np.uint64]


def resized(scale: float) -> Change:
    """Bilinear, as most programs do."""
    return lambda p: p.resize((round(p.width * scale), round(p.height * scale)))


def encoded(quality: int) -> Change:
    """Stored as JPEG and read again."""

    def change(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return change


def cropped(*shares: float) -> Change:
    """Without these shares of the width and height at left, top, right and bottom."""

    def change(image: Image.Image) -> Image.Image:
        width, height = image.size
        left, top, right, bottom = shares
        return image.crop(
            (
                round(width * left),
                round(height * top),
                round(width * (1 - right)),
                round(height * (1 - bottom)),
            )
        )

    return change


def brightened(factor: float) -> Change:
    """Every value times `factor`."""
    return lambda p: ImageEnhance.Brightness(p).enhance(factor)


def contrasted(factor: float) -> Change:
    """Every difference from the mean times `factor`."""
    return lambda p: ImageEnhance.Contrast(p).enhance(factor)


CHANGES: dict[str, tuple[Change, ...]] = {
    "resized to 0.5, 0.75, 1.5": tuple(map(resized, (0.5, 0.75, 1.5))),
    "JPEG 50, 70, 90": tuple(map(encoded, (50, 70, 90))),
    "brightness -20, +20 %": tuple(map(brightened, (0.8, 1.2))),
    "contrast -20, +20 %": tuple(map(contrasted, (0.8, 1.2))),
    "flipped left-right": (lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),),
    "flipped top-bottom, turned by 180": (
        lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        lambda p: p.transpose(Image.Transpose.ROTATE_180),
    ),
    "cropped by 2 to 5 % on each side": tuple(
        cropped(*[share] * 4) for share in (0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05)
    ),
    "cropped unevenly (2, 3, 4, 5 %)": (cropped(0.02, 0.03, 0.04, 0.05),),
    "cropped on one side only (5 %)": (cropped(0.05, 0, 0, 0),),
}


def components(fingerprints: Fingerprints, distance: int, similarity: float) -> NDArray[np.intp]:
    """The component of each image."""
    params = NearDuplicateParams(max_hamming_distance=distance, min_similarity=similarity)
    names = [f"{number:08}" for number in range(len(fingerprints))]
    joined = splits.group(names, near_duplicates.find(fingerprints, params))
    return np.unique(joined, return_inverse=True)[1]


def load(paths: Sequence[Path], change: Change = lambda image: image) -> Fingerprints:
    """Fingerprints of images after a change."""

    def read(path: Path) -> Fingerprints:
        with Image.open(path) as image:
            return fingerprint(change(image.convert("RGB")))

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(read, paths)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Near duplicates.")
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    options = parser.parse_args()
    settings = params.load(Path("params.yaml"), validate.Params).validate.near_duplicates
    chosen = settings or NearDuplicateParams(max_hamming_distance=11, min_similarity=0.7)
    distance = chosen.max_hamming_distance
    paths = sorted(path for path in options.images.rglob("*") if path.is_file())
    sample = load(paths)
    print(f"at most {distance} of 64 bits; params.yaml has similarity {chosen.min_similarity}")
    print(f"\n{'similarity at least':<36}" + "".join(f"{level:>9.2f}" for level in SIMILARITIES))
    _print_sample(sample, distance)
    _, alone = np.unique(components(sample, distance, min(SIMILARITIES)), return_index=True)
    originals = np.sort(np.random.default_rng(0).permutation(alone)[:PLANTED])
    print(f"recall of {len(originals)} planted pairs of each change")
    for name, changes in CHANGES.items():
        copies = [load([paths[k] for k in originals], change) for change in changes]
        row = [
            np.mean([_recall(sample[originals], c, distance, level) for c in copies])
            for level in SIMILARITIES
        ]
        print(f"  {name:<34}" + "".join(f"{share:>9.3f}" for share in row), flush=True)
    _print_time(chosen)


def _print_sample(sample: Fingerprints, distance: int) -> None:
    sizes = [np.bincount(components(sample, distance, level)) for level in SIMILARITIES]
    pairs = len(sample) * (len(sample) - 1)
    rates = [100 * np.sum(size * (size - 1)) / pairs for size in sizes]
    print(f"{'% of all pairs joined, chains too':<36}" + "".join(f"{r:>9.4f}" for r in rates))
    print(f"{'largest group':<36}" + "".join(f"{size.max():>9,}" for size in sizes))
    print(f"{'images with near duplicates':<36}" + "".join(f"{s[s > 1].sum():>9,}" for s in sizes))


def _recall(
    originals: Fingerprints, copies: Fingerprints, distance: int, similarity: float
) -> float:
    found = components(np.concatenate([originals, copies]), distance, similarity)
    return float(np.mean(found[: len(originals)] == found[len(originals) :]))


def _print_time(settings: NearDuplicateParams) -> None:
    rng = np.random.default_rng(0)
    fingerprints = rng.integers(0, 2**64, (MANY, *FINGERPRINT_SHAPE), dtype=np.uint64)
    fingerprints[-1000:] = fingerprints[:1000]
    started = time.perf_counter()
    found = near_duplicates.find(fingerprints, settings)
    seconds = time.perf_counter() - started
    print(f"\n{MANY:,} images, 1,000 planted pairs: {len(found):,} found in {seconds:.1f} s")


if __name__ == "__main__":
    main()
