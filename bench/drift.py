"""False alarms and power of `python -m pipeline drift` on five kinds of images.

Run: python -m bench.drift [--photographs FOLDER] [--only KIND ...]

For each kind a small ResNet-18 learns all classes but one. Of images that it never saw, half are
the reference and 50 others the sample: 1,000 times drawn anew for false alarms, 200 times for each
planted change. Prints a Markdown table. Minutes on 2 cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from components.core.training import drift, features
from components.core.training.loop import LabeledImages
from components.io import process, reference

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    Pixels = NDArray[np.uint8]

SAMPLE, CLEAN, PLANTED = 50, 1_000, 200
EPOCHS, BATCH = 4, 32
COLORS = [(200, 60, 40), (40, 90, 200), (60, 190, 80), (220, 200, 60), (150, 60, 180)]


class Kind(NamedTuple):
    """Images of a kind: (N, S, S, 3) with labels; the last class is the one nobody knows."""

    pixels: Pixels
    labels: NDArray[np.int64]


def drawings(rng: np.random.Generator) -> Kind:
    """Flat shapes in five colors on flat backgrounds: disc, square, triangle; unknown: cross."""
    images, labels = [], rng.integers(0, 4, 1_600)
    for label in labels:
        image = Image.new("RGB", (48, 48), (int(rng.integers(200, 256)),) * 3)
        draw, color = ImageDraw.Draw(image), COLORS[rng.integers(len(COLORS))]
        side, x, y = rng.integers(12, 28), rng.integers(2, 18), rng.integers(2, 18)
        box = [int(v) for v in (x, y, x + side, y + side)]
        if label == 0:
            draw.ellipse(box, fill=color)
        elif label == 1:
            draw.rectangle(box, fill=color)
        elif label == 2:
            draw.polygon([(box[0], box[3]), (box[2], box[3]), (box[0], box[1])], fill=color)
        else:
            draw.line(box, fill=color, width=5)
            draw.line([box[0], box[3], box[2], box[1]], fill=color, width=5)
        images.append(np.asarray(image))
    return Kind(np.stack(images), labels)


def digits(_rng: np.random.Generator) -> Kind:
    """1,797 gray images of 8 x 8 pixels; unknown: 9."""
    from sklearn.datasets import load_digits

    data = load_digits()
    gray = [Image.fromarray((i * 15).astype(np.uint8)).resize((32, 32)) for i in data.images]
    pixels = np.stack([np.asarray(image.convert("RGB")) for image in gray])
    return Kind(pixels, data.target.astype(np.int64))


def textures(rng: np.random.Generator) -> Kind:
    """Forty classes of stripes, told apart by direction, width and color; unknown: the last."""
    labels = rng.integers(0, 40, 2_000)
    y, x = np.mgrid[:32, :32]
    images = []
    for label in labels:
        angle, width = np.pi * (label % 8) / 8, 0.4 + 0.25 * (label // 8)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * width + rng.uniform(0, 6))
        color = np.array(COLORS[label % 5])
        noise = rng.normal(0, 12, (32, 32, 3))
        images.append((color + 50 * wave[..., None] + noise).clip(0, 255).astype(np.uint8))
    return Kind(np.stack(images), labels)


def scenes(rng: np.random.Generator) -> Kind:
    """Patches of two color photographs: three regions, unknown: the fourth."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    labels = rng.integers(0, 4, 1_600)
    images = []
    for label in labels:
        whole = photographs[label // 2]
        height, width = whole.shape[:2]
        top = rng.integers(0, height - 80)
        left = rng.integers(0, width // 2 - 80) + (label % 2) * width // 2
        patch = Image.fromarray(whole[top : top + 80, left : left + 80])
        images.append(np.asarray(patch.resize((48, 48), Image.Resampling.BILINEAR)))
    return Kind(np.stack(images), labels)


def photographs(folder: Path, rng: np.random.Generator) -> Kind:
    """Two class folders of photographs; unknown: patches of other photographs."""
    images, labels = [], []
    for label, place in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())[:2]):
        for path in rng.permutation(sorted(place.iterdir()))[:700]:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB").resize((48, 48), reducing_gap=2)))
            labels.append(label)
    other = scenes(rng).pixels[:200]
    gray = np.repeat(other.mean(axis=3, keepdims=True).astype(np.uint8), 3, axis=3)
    return Kind(np.concatenate([np.stack(images), gray]), np.array([*labels, *[2] * 200]))


def train(pixels: Pixels, labels: NDArray[np.int64], classes: int) -> nn.Module:
    """A ResNet-18 from random weights."""
    import torch
    from torch.nn import functional

    from components.core.training.architectures import build_network
    from components.core.training.augmentation import normalize

    torch.manual_seed(0)
    network = build_network("resnet18", classes).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(labels)).split(BATCH):  # type: ignore[no-untyped-call]
            if len(part) < 2:
                continue
            logits = network(normalize(torch.from_numpy(pixels[part.numpy()])))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[part.numpy()]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval()


def blurred(pixels: Pixels) -> Pixels:
    """As if out of focus, by a pixel of the network's input."""
    images = (Image.fromarray(image).filter(ImageFilter.GaussianBlur(1)) for image in pixels)
    return np.stack([np.asarray(image) for image in images])


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "blur": blurred,
    "0.7 of the light": lambda pixels: (pixels * 0.7).astype(np.uint8),
}


def measure(name: str, kind: Kind, rng: np.random.Generator) -> str:
    """A row of the table."""
    unknown = int(kind.labels.max())
    known = rng.permutation(np.flatnonzero(kind.labels != unknown))
    cut = len(known) // 2
    learned, pool = known[:cut], known[cut:]
    network = train(kind.pixels[learned], kind.labels[learned], unknown)
    seen = LabeledImages(kind.pixels[learned], kind.labels[learned])
    of_seen = features.extract(network, "resnet18", seen.pixels, device="cpu")
    means = reference.measure(
        network, "resnet18", 1.0, seen, seen, of_seen, num_classes=unknown, device="cpu"
    ).class_means

    def statistics(pixels: Pixels) -> NDArray[np.float32]:
        return reference.statistics_of(network, "resnet18", 1.0, means, pixels, device="cpu")

    clean = statistics(kind.pixels[pool])
    strangers = statistics(kind.pixels[kind.labels == unknown])
    cells = [share(clean, clean, CLEAN, rng)]
    cells += [
        share(clean, statistics(change(kind.pixels[pool])), PLANTED, rng)
        for change in CHANGES.values()
    ]
    cells += [
        share(clean, clean, PLANTED, rng, strangers=strangers, rate=rate) for rate in (1.0, 0.3)
    ]
    return f"| {name} | {unknown} | {len(pool) // 2} | {' | '.join(cells)} |"


def share(
    clean: NDArray[np.float32],
    changed: NDArray[np.float32],
    repeats: int,
    rng: np.random.Generator,
    *,
    strangers: NDArray[np.float32] | None = None,
    rate: float = 0.0,
) -> str:
    """How often a sample of `changed`, of which `rate` are strangers, gives an alarm."""
    alarms, names = 0, dict.fromkeys(drift.STATISTICS, 0)
    for _ in range(repeats):
        order = rng.permutation(len(clean))
        half = len(clean) // 2
        sample = changed[order[half : half + SAMPLE]].copy()
        if strangers is not None:
            count = round(rate * SAMPLE)
            sample[:count] = strangers[rng.choice(len(strangers), count)]
        found = [
            finding.name for finding in drift.compare(clean[order[:half]], sample) if finding.alarm
        ]
        alarms += bool(found)
        for name in found:
            names[name] += 1
    most = max(names, key=lambda name: names[name])
    by = f" ({most})" if repeats == PLANTED and alarms else ""
    return f"{alarms / repeats:.3f}{by}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Drift.")
    parser.add_argument("--photographs", type=Path, default=Path("data/images"))
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args(arguments)
    process.configure()
    kinds: dict[str, Callable[[np.random.Generator], Kind]] = {
        "digits": digits,
        "drawings": drawings,
        "textures": textures,
        "scenes": scenes,
        "photographs": lambda rng: photographs(options.photographs, rng),
    }
    columns = ["images", "classes", "val", "clean", *CHANGES, "new class", "30 % of a new class"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, make in kinds.items():
        if options.only is None or name in options.only:
            rng = np.random.default_rng(0)
            print(measure(name, make(rng), rng), flush=True)


if __name__ == "__main__":
    main()
