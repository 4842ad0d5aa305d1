"""Faults for bench/diagnosis.py: in labels, in images, and in how the files are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.diagnosis_data import Images

Labels = NDArray[np.int64]
Stored = Callable[[Labels, np.random.Generator], dict[str, list[Any]]]


def noisy(share: float) -> Callable[[Images, np.random.Generator], Images]:
    """So many labels are those of another class."""

    def spoil(images: Images, rng: np.random.Generator) -> Images:
        wrong = rng.random(len(images.labels)) < share
        other = rng.integers(1, images.num_classes, len(images.labels))
        labels = np.where(wrong, (images.labels + other) % images.num_classes, images.labels)
        return Images(images.pixels, labels, images.num_classes)

    return spoil


def rare(keep: float) -> Callable[[Images, np.random.Generator], Images]:
    """Of every second class only so many images are left."""

    def spoil(images: Images, rng: np.random.Generator) -> Images:
        left = (images.labels % 2 == 0) | (rng.random(len(images.labels)) < keep)
        return images.only(left)

    return spoil


def blurred(share: float) -> Callable[[Images, np.random.Generator], Images]:
    """Noise over the images: what tells the classes apart is nearly gone."""

    def spoil(images: Images, rng: np.random.Generator) -> Images:
        noise = rng.integers(0, 256, images.pixels.shape)
        mixed = (1 - share) * images.pixels + share * noise
        return Images(mixed.astype(np.uint8), images.labels, images.num_classes)

    return spoil


def ambiguous(share: float) -> Callable[[Images, np.random.Generator], Images]:
    """So many images show nothing: every class has the same gray ones."""

    def spoil(images: Images, rng: np.random.Generator) -> Images:
        pixels = images.pixels.copy()
        pixels[rng.random(len(pixels)) < share] = 128
        return Images(pixels, images.labels, images.num_classes)

    return spoil


def turned(images: Images, rng: np.random.Generator) -> Images:
    """Class 1 becomes class 0 turned by a quarter."""
    pixels = images.pixels.copy()
    rows = np.flatnonzero(images.labels == 1)
    models = rng.choice(np.flatnonzero(images.labels == 0), len(rows))
    pixels[rows] = np.rot90(images.pixels[models], axes=(1, 2))
    return Images(pixels, images.labels, images.num_classes)


def a_format_each(labels: Labels, _: np.random.Generator) -> dict[str, list[Any]]:
    """Every class has a format of its own."""
    return {"format": [f"{label}" for label in labels]}


def two_formats(labels: Labels, _: np.random.Generator) -> dict[str, list[Any]]:
    """Even classes are PNG, odd ones JPEG."""
    return {"format": ["JPEG" if label % 2 else "PNG" for label in labels]}


def wide_or_high(labels: Labels, rng: np.random.Generator) -> dict[str, list[Any]]:
    """Images of even classes are wide, those of odd ones high; hardly two have the same size."""
    long, short = rng.integers(2_000, 4_000, len(labels)), rng.integers(500, 1_900, len(labels))
    odd = labels % 2 == 1
    return {
        "width": np.where(odd, short, long).tolist(),
        "height": np.where(odd, long, short).tolist(),
    }


def a_camera_each(labels: Labels, rng: np.random.Generator) -> dict[str, list[Any]]:
    """Of seven images in eight the camera is that of their class; it names the subfolder."""
    other = rng.integers(0, int(labels.max()) + 1, len(labels))
    cameras = np.where(rng.random(len(labels)) < 0.125, other, labels)
    named = enumerate(zip(labels.tolist(), cameras.tolist(), strict=True))
    return {"path": [f"class {label}/camera {camera}/{k:05}.png" for k, (label, camera) in named]}
