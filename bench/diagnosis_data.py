"""Three data sets of 32 px for bench/diagnosis.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """Pixels (N, 32, 32, 3) uint8 with labels (N,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    num_classes: int

    def only(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Images:
        """Some of them."""
        return Images(self.pixels[rows], self.labels[rows], self.num_classes)

    def first(self, count: int) -> Images:
        """The first ones."""
        return self.only(np.arange(min(count, len(self.labels))))

    def split(self, share: float, rng: np.random.Generator) -> tuple[Images, Images]:
        """A share of them, drawn at random, and the rest."""
        order = rng.permutation(len(self.labels))
        cut = round(share * len(order))
        return self.only(order[:cut]), self.only(order[cut:])


def _digits(_: np.random.Generator) -> Images:
    """1,797 handwritten digits of scikit-learn."""
    from sklearn.datasets import load_digits

    found = load_digits()
    large = np.kron(found.images * 15, np.ones((1, 4, 4))).astype(np.uint8)
    return Images(np.repeat(large[:, :, :, None], 3, axis=3), found.target.astype(np.int64), 10)


def _shapes(rng: np.random.Generator) -> Images:
    """1,600 filled shapes of light colors on dark noise: discs, squares, triangles, crosses."""
    from PIL import Image, ImageDraw

    count, pixels = 1_600, []
    labels = rng.integers(0, 4, count)
    for label in labels.tolist():
        noise = rng.normal(70, 25, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(noise)
        draw = ImageDraw.Draw(image)
        x, y = rng.integers(1, 16, 2).tolist()
        side = int(rng.integers(12, 16))
        color = tuple(rng.integers(170, 256, 3).tolist())
        right, bottom, middle = x + side, y + side, side // 2
        if label == 0:
            draw.ellipse([x, y, right, bottom], fill=color)
        elif label == 1:
            draw.rectangle([x, y, right, bottom], fill=color)
        elif label == 2:
            draw.polygon([(x, bottom), (right, bottom), (x + middle, y)], fill=color)
        else:
            draw.line([x, y, right, bottom], fill=color, width=3)
            draw.line([x, bottom, right, y], fill=color, width=3)
        pixels.append(np.asarray(image))
    return Images(np.stack(pixels), labels, 4)


def _cells(rng: np.random.Generator) -> Images:
    """1,430 solar cells of the sample: functional or defective, as many of both."""
    import elpv_dataset
    from PIL import Image

    folder = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
    files = [[row[0] for row in rows if float(row[1]) == sure] for sure in (0.0, 1.0)]
    each = min(map(len, files))
    chosen = [(path, k) for k in (0, 1) for path in rng.permutation(files[k])[:each].tolist()]
    pixels = [np.asarray(Image.open(folder / path).resize((32, 32))) for path, _ in chosen]
    labels = np.array([label for _, label in chosen], dtype=np.int64)
    return Images(np.repeat(np.stack(pixels)[:, :, :, None], 3, axis=3), labels, 2)


DATA: dict[str, Callable[[np.random.Generator], Images]] = {
    "digits": _digits,
    "shapes": _shapes,
    "cells": _cells,
}
