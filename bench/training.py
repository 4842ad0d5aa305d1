"""Training throughput: this project's loop against a plain fp32 ImageFolder + DataLoader script.

Run: python -m bench.training [--rounds 3] [--size 128]

Two sides learn from the same images in the same batches, each in a fresh process, in turn
(A B A B ...), so that a machine that drifts drifts for both. They do equal work, after a short
warm-up. The result is the median of the ratios, round by round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES = Path("data/images")
WARM_UP = 4  # batches
BATCH = 32
SIDES = ("plain", "ours")


def plain(images: Path, size: int, batches: int) -> float:
    """The script that most people write: images per second."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, models, transforms

    steps = [
        transforms.RandomResizedCrop(size, scale=(0.5, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    data = datasets.ImageFolder(str(images), transforms.Compose(steps))
    loader = DataLoader(data, BATCH, shuffle=True, num_workers=2, drop_last=True)
    network = models.resnet18(num_classes=len(data.classes))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    started = 0.0
    network.train()
    for done, (inputs, labels) in enumerate(loader, start=1):
        optimizer.zero_grad()
        loss_of(network(inputs), labels).backward()
        optimizer.step()
        if done == WARM_UP:
            started = time.perf_counter()
        if done == WARM_UP + batches:
            break
    return batches * BATCH / (time.perf_counter() - started)


def ours(images: Path, size: int, batches: int) -> float:
    """`core.training.loop.fit` with the standard preset: images per second."""
    from components.io import process

    process.configure()
    from components.core.training.loop import Stopped, fit

    network, train, config = _prepare(images, size)
    started, done = 0.0, 0

    def after_batch(_done: int, _total: int) -> bool:
        nonlocal started, done
        done += 1
        if done == WARM_UP:
            started = time.perf_counter()
        return done == WARM_UP + batches

    with contextlib.suppress(Stopped):
        next(fit(network, train, train, config, after_batch=after_batch))
    return batches * BATCH / (time.perf_counter() - started)


def _prepare(images: Path, size: int):  # type: ignore[no-untyped-def]
    """Network, images and config of our side; the cache is built before the clock starts."""
    import hashlib

    import numpy as np
    import pandas as pd

    from components import train
    from components.core.training.architectures import build_network
    from components.core.training.config import resolve_config
    from components.core.training.loop import LabeledImages
    from components.core.training.presets import choose_preset
    from components.io import params
    from components.io.data import pixel_cache

    settings = params.load(Path("params.yaml"), train.Params)
    paths = sorted(p for p in images.glob("*/*") if p.is_file())
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in paths]
    names = [p.relative_to(images).as_posix() for p in paths]
    rows = pd.DataFrame({"path": names, "sha256": digests})
    classes = sorted({p.parent.name for p in paths})
    labels = np.array([classes.index(p.parent.name) for p in paths])
    folder = Path(tempfile.gettempdir()) / "bench-cache"
    pixels = pixel_cache.open_pixels(rows, images, folder, settings.data, size)
    preset = choose_preset("auto", len(paths), "random")
    config = resolve_config(
        settings.training.model_copy(update={"batch_size": BATCH}),
        preset,
        architecture="resnet18",
        learning_rate=1e-3,
        epochs=2,
        early_stopping=50,
        horizontal_flip=True,
        image_size=size,
        labels=labels,
        num_classes=len(classes),
    )
    return build_network("resnet18", len(classes)), LabeledImages(pixels, labels), config


def compare(images: Path, size: int, rounds: int, batches: int) -> None:
    """Run both sides in turn and print every figure and the median ratio."""
    ratios = []
    for number in range(1, rounds + 1):
        rates = {side: _measure(side, images, size, batches) for side in SIDES}
        ratios.append(rates["ours"] / rates["plain"])
        figures = "   ".join(f"{side} {rate:6.1f} img/s" for side, rate in rates.items())
        print(f"round {number}: {figures}", flush=True)
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ours / plain: median {statistics.median(ratios):.2f} ({shown})")


def _measure(side: str, images: Path, size: int, batches: int) -> float:
    options = ["--side", side, "--size", str(size), "--batches", str(batches)]
    command = [sys.executable, "-m", "bench.training", "--images", str(images), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(json.loads(done.stdout.splitlines()[-1])["rate"])


def main() -> None:
    """Parse the command line; a side runs in its own process."""
    parser = argparse.ArgumentParser(description="Training throughput, side by side.")
    parser.add_argument("--images", type=Path, default=IMAGES)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--side", choices=SIDES)
    options = parser.parse_args()
    if options.side is None:
        compare(options.images, options.size, options.rounds, options.batches)
        return
    side = {"plain": plain, "ours": ours}[options.side]
    print(json.dumps({"rate": side(options.images, options.size, options.batches)}))


if __name__ == "__main__":
    main()
