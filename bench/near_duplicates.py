"""Near duplicates: what is found of planted pairs, what is joined wrongly, and how long it takes.

Run: python -m bench.near_duplicates [--images FOLDER [FOLDER ...]] [--limit 400]

Planted pairs are images of a folder and a changed copy of each; no two of the images are near
duplicates, so no chain joins what is not alike. Random pairs are all pairs of the untouched folder;
those joined include its true near duplicates, which nobody has labeled. Transparent images are
flattened on white first, but for the resized ones. The search is timed on each folder, and on
100,000 fingerprints of random bits: nothing alike, but what is planted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from components import validate
from components.core.data import near_duplicates, splits
from components.core.data.fingerprints import FINGERPRINT, Fingerprints, fingerprint
from components.core.data.near_duplicates import NearDuplicateParams
from components.io import params

MANY = 100_000
WHITE = (255, 255, 255)

Change = Callable[[Image.Image], Image.Image]


def opaque(image: Image.Image) -> Image.Image:
    """On white, as the decoder does it; mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (*WHITE, 255))
        background.alpha_composite(image.convert("RGBA"))
        image = background
    return image.convert("RGB")


def resized(size: Callable[[int], int]) -> Change:
    """Both sides by a function of them, bilinear, as most programs do; transparency is kept."""

    def change(image: Image.Image) -> Image.Image:
        if image.mode == "P":
            image = image.convert("RGBA")
        return image.resize((max(size(image.width), 1), max(size(image.height), 1)))

    return change


def encoded(kind: str, quality: int) -> Change:
    """Stored and read again."""

    def change(image: Image.Image) -> Image.Image:
        file = BytesIO()
        opaque(image).save(file, kind, quality=quality)
        return Image.open(file)

    return change


def cropped(left: float, top: float, right: float, bottom: float) -> Change:
    """Without these shares of the width and height."""

    def change(image: Image.Image) -> Image.Image:
        width, height = image.size
        box = (width * left, height * top, width * (1 - right), height * (1 - bottom))
        return opaque(image).crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))

    return change


def both(one: Change, other: Change) -> Change:
    """One change after the other."""
    return lambda image: other(one(image))


CHANGES: dict[str, Change] = {
    "resized by -3 px": resized(lambda side: side - 3),
    "half size": resized(lambda side: side // 2),
    "double size": resized(lambda side: 2 * side),
    "JPEG 80": encoded("JPEG", 80),
    "JPEG 50": encoded("JPEG", 50),
    "WebP 80": encoded("WEBP", 80),
    "WebP 50": encoded("WEBP", 50),
    "-3 px, JPEG 80": both(resized(lambda side: side - 3), encoded("JPEG", 80)),
    "half size, JPEG 80": both(resized(lambda side: side // 2), encoded("JPEG", 80)),
    "brightness x 1.2": lambda p: ImageEnhance.Brightness(opaque(p)).enhance(1.2),
    "brightness x 0.8": lambda p: ImageEnhance.Brightness(opaque(p)).enhance(0.8),
    "contrast x 0.8": lambda p: ImageEnhance.Contrast(opaque(p)).enhance(0.8),
    "gray": lambda p: opaque(p).convert("L"),
    "flipped left-right": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by 180": lambda p: p.transpose(Image.Transpose.ROTATE_180),
    "cropped by 2 %": cropped(0.02, 0.02, 0.02, 0.02),
    "cropped by 3 %": cropped(0.03, 0.03, 0.03, 0.03),
    "cropped by 5 %": cropped(0.05, 0.05, 0.05, 0.05),
    "3 %, JPEG 80": both(cropped(0.03, 0.03, 0.03, 0.03), encoded("JPEG", 80)),
    "left side only, 3 %": cropped(0.03, 0, 0, 0),
}


def components(fingerprints: Fingerprints, settings: NearDuplicateParams) -> NDArray[np.intp]:
    """The component of each image."""
    names = [f"{number:08}" for number in range(len(fingerprints))]
    pairs = near_duplicates.find(fingerprints.__getitem__, len(fingerprints), settings)
    joined = splits.group(names, [(pair.one, pair.other) for pair in pairs])
    return np.unique(joined, return_inverse=True)[1]


def load(paths: Iterable[Path], change: Change = lambda image: image) -> Fingerprints:
    """Fingerprints of images after a change."""

    def read(path: Path) -> Fingerprints:
        with Image.open(path) as image:
            return fingerprint(opaque(change(image)))

    with ThreadPoolExecutor() as pool:
        return np.concatenate(list(pool.map(read, paths)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Near duplicates.")
    parser.add_argument("--images", type=Path, nargs="+", default=[Path("data/images")])
    parser.add_argument("--limit", type=int, default=400, help="planted pairs of each change")
    options = parser.parse_args()
    chosen = params.load(Path("params.yaml"), validate.Params).validate.near_duplicates
    settings = chosen or NearDuplicateParams(max_hamming_distance=11, min_similarity=0.7)
    print(*settings, sep="\n")
    for folder in options.images:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        measure(folder, paths, settings, options.limit)
    _print_time(settings)


def measure(folder: Path, paths: Sequence[Path], settings: NearDuplicateParams, limit: int) -> None:
    """Print what is joined in a folder, and what is found of its changed copies."""
    images = load(paths)
    started = time.perf_counter()
    found = components(images, settings)
    seconds = time.perf_counter() - started
    sizes = np.bincount(found)
    share = 100 * np.sum(sizes * (sizes - 1)) / max(len(images) * (len(images) - 1), 1)
    print(f"\n{folder}: {len(images):,} images, {share:.4f} % of pairs joined, chains too;")
    print(f"  largest group {sizes.max()}, {sizes[sizes > 1].sum():,} images have near duplicates;")
    print(f"  searched in {seconds:.1f} s", flush=True)
    _, alone = np.unique(found, return_index=True)
    originals = np.sort(np.random.default_rng(0).permutation(alone)[:limit])
    for name, change in CHANGES.items():
        pairs = np.concatenate([images[originals], load((paths[k] for k in originals), change)])
        joined = components(pairs, settings).reshape(2, -1)
        print(
            f"  {name:<22}{np.mean(joined[0] == joined[1]):>7.3f} of {len(originals)}", flush=True
        )


def _print_time(settings: NearDuplicateParams) -> None:
    rng = np.random.default_rng(0)
    octets = rng.integers(0, 256, MANY * FINGERPRINT.itemsize, dtype=np.uint8)
    fingerprints = octets.view(FINGERPRINT)
    fingerprints[-1000:] = fingerprints[:1000]
    started = time.perf_counter()
    found = near_duplicates.find(fingerprints.__getitem__, MANY, settings)
    seconds = time.perf_counter() - started
    print(f"\n{MANY:,} images, 1,000 planted pairs: {len(found):,} found in {seconds:.1f} s")


if __name__ == "__main__":
    main()
