"""Nothing is fitted to the sample: the whole pipeline on data sets that are unlike it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.test_end_to_end import Project, copy_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ImageArray = np.ndarray[Any, np.dtype[np.uint8]]


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def digits(images: Path) -> dict[str, object]:
    """1,797 gray images of 8 x 8 pixels in ten classes."""
    data = load_digits()
    for number, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        gray = Image.fromarray((pixels * 15).astype(np.uint8))
        write(images / str(label) / f"{number:04}.png", encode(gray, "PNG"))
    return {"model.image_size": 32, "validate.max_imbalance": 2.0}


def texture(rng: np.random.Generator, label: int, size: tuple[int, int]) -> ImageArray:
    """Stripes whose direction and color belong to the class."""
    y, x = np.mgrid[: size[1], : size[0]]
    angle = np.pi * label / 6
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.7 + rng.uniform(0, 6))
    color = np.array([60 + 30 * label, 200 - 25 * label, 40 + 60 * (label % 3)])
    noise = rng.normal(0, 10, (size[1], size[0], 3))
    return np.asarray((color + 50 * wave[..., None] + noise).clip(0, 255), dtype=np.uint8)


def every_format(images: Path) -> dict[str, object]:
    """Six classes, 1:20 unbalanced, in every format, mode and size, deep and strangely named."""
    rng = np.random.default_rng(0)
    names = ["plain", "with space", "umlaut \u00e4\u00f6", "$dollar_#1%", "\u732b", "x" * 120]
    for label, name in enumerate(names):
        for number in range(200 if label == 0 else 10 + 8 * label):
            size = int(rng.integers(20, 300)), int(rng.integers(20, 300))
            rgb = Image.fromarray(texture(rng, label, size))
            folder = images / name / ("deep/er" if number % 4 == 0 else "")
            content, suffix = in_some_format(rgb, number)
            write(folder / f"{number} \u00e9'\"{suffix}", content)
    return {"model.image_size": 48, "validate.max_aspect_ratio": 20.0}


def in_some_format(rgb: Image.Image, number: int) -> tuple[bytes, str]:
    sixteen = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    clear = rgb.copy()
    clear.putalpha(200)
    makers: list[Callable[[], tuple[bytes, str]]] = [
        lambda: (encode(rgb, "JPEG", quality=90), ".JPG"),
        lambda: (encode(clear, "PNG"), ".png"),
        lambda: (encode(rgb.quantize(64), "PNG"), ".png"),
        lambda: (encode(sixteen, "PNG"), ".png"),
        lambda: (encode(rgb, "WEBP"), ".webp"),
        lambda: (encode(rgb, "BMP"), ".bmp"),
        lambda: (encode(rgb.convert("CMYK"), "TIFF"), ".tif"),
        lambda: (encode(rgb.quantize(32), "GIF"), ".gif"),
        lambda: (encode(rgb, "JPEG", exif=upside_down()), ".jpeg"),
        lambda: (encode(rgb.convert("L"), "PNG"), ""),
    ]
    return makers[number % len(makers)]()


def upside_down() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


def split_already(images: Path) -> dict[str, object]:
    """Three classes of large photographs that come as train, val and test."""
    rng = np.random.default_rng(1)
    for split, count in (("train", 20), ("val", 8), ("test", 8)):
        for label, name in enumerate(("north", "east", "west")):
            for number in range(count):
                content = encode(Image.fromarray(texture(rng, 2 * label, (1600, 1200))), "JPEG")
                write(images / split / name / f"{number}.jpg", content)
    return {"model.image_size": 64}


def many_classes(images: Path) -> dict[str, object]:
    """300 classes of 20 small images, no two of them near duplicates."""
    rng = np.random.default_rng(2)
    for label in range(300):
        base = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        for number in range(20):
            shifted = np.roll(np.kron(base, np.ones((4, 4, 1))), rng.integers(0, 16, 2), (0, 1))
            noisy = shifted + rng.normal(0, 20, (16, 16, 3))
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
            write(images / f"class {label:03}" / f"{number}.png", encode(image, "PNG"))
    return {"model.image_size": 32, "training.batch_size": 64, "train.epochs": 3}


@pytest.mark.parametrize("make", [digits, every_format, split_already, many_classes])
def test_the_pipeline_learns_data_unlike_the_sample(
    make: Callable[[Path], dict[str, object]], tmp_path: Path
) -> None:
    project = Project(tmp_path)
    copy_project(tmp_path)
    changes = make(tmp_path / "data/images")
    project.set_params({"train.epochs": 6, "register.gate.max_accuracy": None, **changes})
    project.run("git", "init", "-q")
    project.run("dvc", "add", "-q", "data/images")
    output = project.run("dvc", "repro")
    record = json.loads((tmp_path / "artifacts/register/decision.json").read_text())
    assert record["version"] == "1", output
    evaluation = json.loads((tmp_path / "artifacts/evaluate/evaluation.json").read_text())
    found = evaluation["metrics"]
    assert found["accuracy"] > found["majority_class_accuracy"], output
