"""Whether the diagnosis names what is wrong: planted faults and healthy runs, all trained for real.

Three data sets (handwritten digits, drawn shapes, solar cells) of 32 px, a small network, the
training loop of the product. 26 runs have a planted fault, 12 have none.

    python -m bench.diagnosis [--only NAME]

Prints a line per run: what was planted, what was found, and whether that is right.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.diagnosis_data import DATA, Images
from bench.diagnosis_faults import (
    Stored,
    a_camera_each,
    a_format_each,
    ambiguous,
    blurred,
    noisy,
    rare,
    turned,
    two_formats,
    wide_or_high,
)
from components.core.evaluation.diagnosis import Finding, TrainingFacts, diagnose
from components.core.evaluation.mistakes import diagnose_mistakes
from components.core.evaluation.predictions import Predictions
from components.core.training.calibration import fit_temperature
from components.core.training.config import TrainingConfig
from components.core.training.inference import predict_logits, probabilities
from components.core.training.loop import LabeledImages, fit
from components.core.training.schedule import balanced_weights
from components.io.data.timed_images import TimedImages
from components.io.reports.run.findings import attributes

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

USUAL_RATES, USUAL_EPOCHS = (1e-4, 5e-3), (8, 25)
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run.

    Attributes:
        data: name of the data set.
        planted: what the diagnosis must name, any one of them; empty = it must name nothing.
        train: training images.
        spoil: changes the training and val labels, or which images there are.
        only_train: val and test stay as they are.
        norm: the network has batch norm, which forgives a learning rate that is too high.
        settings: of the training, where they are not those of a healthy one.
        stored: columns of the manifest by the classes of its rows, where files are not all alike.
        slow: seconds that reading an image takes.
    """

    data: str
    planted: tuple[str, ...] = ()
    train: int = 600
    spoil: Callable[[Images, np.random.Generator], Images] | None = None
    only_train: bool = False
    norm: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    stored: Stored | None = None
    slow: float = 0.0


def main() -> None:
    """Run all cases, print what came of each and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a word of the wanted data set or fault")
    only = parser.parse_args().only
    named = accused = planted = healthy = 0
    for number, case in enumerate(CASES):
        what = "/".join(case.planted) or "healthy"
        if only not in f"{case.data} {what}":
            continue
        started = time.monotonic()
        found = run(case, number)
        kinds = [finding.kind for finding in found]
        right = bool(set(kinds) & set(case.planted)) if case.planted else not kinds
        planted, healthy = planted + bool(case.planted), healthy + (not case.planted)
        named += right and bool(case.planted)
        accused += not right and not case.planted
        seconds = time.monotonic() - started
        print(f"{'ok ' if right else 'NOT'} {case.data:<7} {what:<26} {kinds} {seconds:.0f} s")
        for finding in found if not right else ():
            print(f"        {finding}")
    print(f"named right {named} of {planted}, healthy runs accused {accused} of {healthy}")


def run(case: Case, seed: int) -> list[Finding]:
    """Train, evaluate, diagnose."""
    rng = np.random.default_rng(seed)
    images = DATA[case.data](rng)
    test, rest = images.split(0.25, rng)
    val, train = rest.split(0.25, rng)
    train = train.first(case.train)
    if case.spoil:
        train = case.spoil(train, rng)
        if not case.only_train:
            val, test = case.spoil(val, rng), case.spoil(test, rng)
    return _diagnose(case, train, val, test, seed)


def _diagnose(case: Case, train: Images, val: Images, test: Images, seed: int) -> list[Finding]:
    classes = train.num_classes
    config = _config(case.settings, train.labels, classes, seed)
    timed = TimedImages(_Slow(train.pixels, case.slow))
    network = small_network(classes, seed, norm=case.norm)
    epochs = list(
        fit(
            network,
            LabeledImages(timed, train.labels),
            LabeledImages(val.pixels, val.labels),
            config,
        )
    )
    share = timed.share()
    counts = np.bincount(train.labels, minlength=classes)
    keys = ("train_loss", "val_loss", "val_accuracy")
    facts = TrainingFacts(
        history=[{key: getattr(epoch, key) for key in keys} for epoch in epochs],
        planned_epochs=config.epochs,
        class_counts=counts.tolist(),
        learning_rate=config.learning_rate,
        usual_rates=USUAL_RATES,
        usual_epochs=USUAL_EPOCHS,
        augmentation=config.augmentation,
        usual_augmentation="light",
        label_smoothing=config.label_smoothing,
        read_share=share,
    )
    network.load_state_dict(epochs[-1].state["best"]["network"])
    names = [f"class {k}" for k in range(classes)]
    logits = predict_logits(network, test.pixels, device="cpu")
    val_logits = predict_logits(network, val.pixels, device="cpu")
    shares = probabilities(logits, max(1.0, fit_temperature(val_logits, val.labels)))
    paths = [f"{k:05}" for k in range(len(test.labels))]
    predictions = Predictions(names, paths, paths, test.labels, logits.argmax(axis=1), shares)
    by_name = dict(zip(names, counts.tolist(), strict=True))
    known = attributes(_manifest(case, train, names, np.random.default_rng(seed)))
    return diagnose(facts) + diagnose_mistakes(
        predictions, by_name, known, rotate_90=config.rotate_90
    )


def _manifest(
    case: Case, train: Images, names: list[str], rng: np.random.Generator
) -> pd.DataFrame:
    """What validate would have written about the training images."""
    import pandas as pd

    labels = [names[k] for k in train.labels]
    frame = pd.DataFrame(
        {
            "path": [f"{label}/{k:05}.png" for k, label in enumerate(labels)],
            "label": labels,
            "group": [f"{k:064}" for k in range(len(labels))],
            "width": 32,
            "height": 32,
            "format": "PNG",
            "mode": "RGB",
            "status": "used",
        }
    )
    return frame.assign(**case.stored(train.labels, rng)) if case.stored else frame


class _Slow:
    """Images from a slow disk."""

    def __init__(self, pixels: NDArray[np.uint8], seconds: float) -> None:
        self._pixels, self._seconds = pixels, seconds

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        found = self._pixels[index]
        time.sleep(self._seconds * len(found))
        return found


def _config(changes: dict[str, Any], labels: Labels, classes: int, seed: int) -> TrainingConfig:
    values: dict[str, Any] = {
        "learning_rate": 2e-3, "epochs": 14, "early_stopping": 50, "batch_size": 32,
        "augmentation": "light", "horizontal_flip": False, "rotate_90": False,
        "weight_decay": 0.05, "label_smoothing": 0.1, "warmup_fraction": 0.15, "ema_decay": 0.0,
        "image_size": 32, "seed": seed, "device": "cpu", "precision": "fp32",
        "deterministic": True,
        "class_weights": tuple(w**0.5 for w in balanced_weights(labels, classes)),
    }  # fmt: skip
    return TrainingConfig(**values | changes)


def small_network(classes: int, seed: int, *, norm: bool = True) -> nn.Module:
    """Three convolutions with batch norm: (B, 3, 32, 32) -> (B, classes)."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, 2, padding=1)]
        layers += [nn.BatchNorm2d(after)] if norm else []
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, classes))


HARD = ("data harder than the model", "underfitting")
FEW = ("overfitting", "too few images")
HIGH = ("learning rate too high",)
CASES = [
    Case(data="digits", planted=HIGH, norm=False, settings={"learning_rate": 0.3}),
    Case(data="shapes", planted=HIGH, norm=False, settings={"learning_rate": 0.3}),
    Case(data="cells", planted=HIGH, settings={"learning_rate": 0.1}),
    Case(data="digits", planted=("learning rate too low",), settings={"learning_rate": 3e-6}),
    Case(data="shapes", planted=("learning rate too low",), settings={"learning_rate": 1e-6}),
    Case(data="cells", planted=("learning rate too low",), settings={"learning_rate": 1e-6}),
    Case(data="digits", planted=("too short",), settings={"epochs": 1, "learning_rate": 3e-4}),
    Case(data="shapes", planted=("too short",), settings={"epochs": 2, "learning_rate": 1e-3}),
    Case(data="digits", planted=FEW, train=60, settings={"augmentation": "none", "epochs": 30}),
    Case(data="shapes", planted=FEW, train=60, settings={"augmentation": "none", "epochs": 30}),
    Case(data="cells", planted=FEW, train=80, settings={"augmentation": "none", "epochs": 30}),
    Case(data="digits", planted=("imbalance",), spoil=rare(0.02), train=500, only_train=True),
    Case(data="shapes", planted=("imbalance",), spoil=rare(0.02), train=500, only_train=True),
    Case(data="cells", planted=("imbalance",), spoil=rare(0.05), only_train=True),
    Case(data="digits", planted=("label noise",), spoil=noisy(0.1)),
    Case(data="shapes", planted=("label noise",), spoil=noisy(0.15)),
    Case(data="digits", planted=("orientation",), spoil=turned, settings={"rotate_90": True}),
    Case(data="digits", planted=("shortcut",), stored=a_format_each),
    Case(data="shapes", planted=("shortcut",), stored=a_format_each),
    Case(data="cells", planted=("shortcut",), stored=two_formats),
    Case(data="shapes", planted=HARD, spoil=blurred(0.97)),
    Case(data="digits", planted=HARD, settings={"augmentation": "maximum", "rotate_90": True,
                                                "learning_rate": 4e-4, "epochs": 8}),
    Case(data="digits", planted=("loader-bound",), slow=0.004, train=200),
    Case(data="shapes", planted=("plateau",), spoil=ambiguous(0.3), settings={"epochs": 30}),
    *(
        Case(data=name, settings=settings, train=train)
        for name in ("digits", "shapes", "cells")
        for train, settings in (
            (10_000, {}),
            (800, {"epochs": 20}),
            (10_000, {"learning_rate": 1e-3, "augmentation": "none", "epochs": 10}),
            (10_000, {"ema_decay": 0.9, "label_smoothing": 0.0}),
        )
    ),
    Case(data="digits", planted=("shortcut",), stored=a_camera_each),
    Case(data="cells", planted=("shortcut",), stored=wide_or_high),
]  # fmt: skip


if __name__ == "__main__":
    main()
