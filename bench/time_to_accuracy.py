"""Which recipe from random weights learns most in equal time? Test accuracy, three seeds each.

Run: python -m bench.time_to_accuracy [SET ...] [--side 64] [--seeds 0 1 2] [--results FILE]

A set is a name of bench.diagnosis_data, whose images have 32 px, or class folders, read at `side`.
Every arm is trained by core/training/loop.fit and may push as many pixels through ResNet-18 as the
first one, so that a busy machine changes nothing: a smaller size buys more epochs. Where an
optimizer or batch size needs another learning rate, the best of three is chosen by the val loss of
seed 0. Runs that are in the file of results are not done again. It prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from bench import diagnosis_data
from bench.diagnosis_data import Images

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from components.core.training.config import TrainingConfig

_RATES = (1 / 3, 1.0, 3.0)  # times the arm's own, where it is searched for


@dataclass(frozen=True)
class Arm:
    """One recipe: what differs from the first one."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 1e-3
    search: bool = False
    optimizer: Callable[..., Any] | None = None  # in place of AdamW
    side: float = 1.0  # of the images, against the first arm's
    epochs: float = 1.0  # against as many as its side affords


def sgd(groups: list[dict[str, Any]], *, lr: float, fused: bool) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum; weight decay of 5e-4, which is added to the gradient."""
    import torch

    groups = [{**group, "weight_decay": 5e-4 * bool(group["weight_decay"])} for group in groups]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=fused)


class Muon:
    """Orthogonalized momentum for kernels, AdamW for all else.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; kernels
    count as matrices (outputs, inputs x height x width). Their rate is 20 times that of AdamW.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, fused: bool) -> None:
        import torch
        from torch.optim.adamw import AdamW  # torch.optim.AdamW is this class just now

        kernels = [p for group in groups for p in group["params"] if p.ndim == 4]
        rest = [{**g, "params": [p for p in g["params"] if p.ndim != 4]} for g in groups]
        self.others = AdamW(rest, lr=lr, fused=fused)
        self.kernels: dict[str, Any] = {"params": kernels, "lr": lr}
        self.momentum: list[Tensor] = [torch.zeros_like(kernel) for kernel in kernels]
        self.param_groups = [*self.others.param_groups, self.kernels]

    def step(self) -> None:
        """One update."""
        import torch

        self.others.step()
        rate = 20 * self.kernels["lr"]
        with torch.no_grad():
            for kernel, momentum in zip(self.kernels["params"], self.momentum, strict=True):
                momentum.lerp_(kernel.grad, 0.05)
                flat = kernel.grad.lerp(momentum, 0.95).flatten(1)
                scale = math.sqrt(max(1.0, flat.shape[0] / flat.shape[1]))
                kernel.mul_(1 - 0.05 * self.kernels["lr"])
                kernel.add_(orthogonal(flat).view_as(kernel), alpha=-rate * scale)

    def zero_grad(self, *, set_to_none: bool) -> None:
        """Forget the gradients."""
        self.others.zero_grad(set_to_none=set_to_none)
        for kernel in self.kernels["params"]:
            kernel.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a bench does not resume."""
        return {}


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with singular values near 1, by five Newton-Schulz steps."""
    wide = matrix.shape[0] <= matrix.shape[1]
    found: Tensor = matrix if wide else matrix.T
    found = found / (found.norm() + 1e-7)
    for _ in range(5):
        square = found @ found.T
        found = 3.4445 * found + (-4.7750 * square + 2.0315 * square @ square) @ found
    turned: Tensor = found if wide else found.T
    return turned


ARMS: Mapping[str, Arm] = {
    "AdamW, as it is": Arm(),
    "AdamW, rate of three": Arm(search=True),
    "3/4 of the side, 16/9 of the epochs": Arm(side=0.75),
    "half the epochs": Arm(epochs=0.5),
    "SGD, Nesterov": Arm(rate=0.05, search=True, optimizer=sgd),
    "Muon for kernels": Arm(search=True, optimizer=Muon),
    "average of weights, 0.98": Arm({"ema_decay": 0.98}),
    "no label smoothing": Arm({"label_smoothing": 0.0}),
    "batch 16": Arm({"batch_size": 16}, search=True),
    "batch 64": Arm({"batch_size": 64}, search=True),
}


@dataclass(frozen=True)
class Splits:
    """One data set."""

    train: Images
    val: Images
    test: Images

    def resized(self, share: float) -> Splits:
        """With images of another side."""
        if share == 1:
            return self
        return Splits(*(_resize(part, share) for part in (self.train, self.val, self.test)))


def _resize(images: Images, share: float) -> Images:
    from PIL import Image

    side = round(images.pixels.shape[1] * share)
    small = [Image.fromarray(pixels).resize((side, side)) for pixels in images.pixels]
    return Images(np.stack([np.asarray(each) for each in small]), images.labels, images.num_classes)


def load(name: str, side: int) -> Splits:
    """60 % train, 15 % val, the rest test."""
    rng = np.random.default_rng(0)
    known = diagnosis_data.DATA.get(name)
    images = known(rng) if known else _read(Path(name), side)
    train, rest = images.split(0.6, rng)
    val, test = rest.split(0.375, rng)
    return Splits(train, val, test)


def _read(folder: Path, side: int) -> Images:
    from PIL import Image

    paths = sorted(path for path in folder.glob("*/*") if path.is_file())
    names = sorted({path.parent.name for path in paths})
    pixels = [np.asarray(Image.open(p).convert("RGB").resize((side, side))) for p in paths]
    labels = np.array([names.index(path.parent.name) for path in paths], dtype=np.int64)
    return Images(np.stack(pixels), labels, len(names))


def train(splits: Splits, arm: Arm, rate: float, epochs: int, seed: int) -> dict[str, float]:
    """One training: the val loss and the test accuracy of its best epoch, and its seconds."""
    import torch

    from components.core.training.architectures import build_network
    from components.core.training.inference import predict_logits
    from components.core.training.loop import LabeledImages, fit

    splits = splits.resized(arm.side)
    config = _config(splits.train, arm, rate, epochs, seed)
    torch.manual_seed(seed)
    network = build_network("resnet18", splits.train.num_classes)
    seen, val = (LabeledImages(each.pixels, each.labels) for each in (splits.train, splits.val))
    started = time.monotonic()
    with patch.object(torch.optim, "AdamW", arm.optimizer or torch.optim.AdamW):
        *_, last = fit(network, seen, val, config)
    seconds = time.monotonic() - started
    best = last.state["best"]
    network.load_state_dict(best["network"])
    logits = predict_logits(
        network,
        splits.test.pixels,
        device="cpu",
        precision=config.precision,
        image_size=config.image_size,
    )
    right = float((logits.argmax(axis=1) == splits.test.labels).mean())
    return {"val_loss": best["val_loss"], "accuracy": right, "seconds": round(seconds, 1)}


def _config(images: Images, arm: Arm, rate: float, epochs: int, seed: int) -> TrainingConfig:
    from components.core.training.config import TrainingConfig
    from components.core.training.inference import resolve_precision
    from components.core.training.schedule import balanced_weights

    values: dict[str, Any] = {
        "learning_rate": rate,
        "epochs": round(epochs * arm.epochs / arm.side**2),
        "early_stopping": 50,
        "batch_size": 32,
        "augmentation": "light",
        "horizontal_flip": False,
        "rotate_90": False,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
        "warmup_fraction": 0.15,
        "ema_decay": 0.0,
        "image_size": images.pixels.shape[1],
        "seed": seed,
        "device": "cpu",
        "precision": resolve_precision("auto", "cpu", "resnet18"),
        "deterministic": True,
        "class_weights": tuple(w**0.5 for w in balanced_weights(images.labels, images.num_classes)),
    }
    return TrainingConfig(**{**values, **arm.changes})


class Runs:
    """What was trained, in a file: nothing is trained twice."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.done = [json.loads(line) for line in lines]

    def result(self, key: Mapping[str, Any], measure: Callable[[], dict[str, float]]) -> Any:
        """The result of the run with this key."""
        for each in self.done:
            if key.items() <= each.items():
                return each
        self.done.append({**key, **measure()})
        with self._file.open("a") as file:
            file.write(json.dumps(self.done[-1]) + "\n")
        print(self.done[-1], flush=True)
        return self.done[-1]


def accuracies(
    runs: Runs, name: str, splits: Splits, arm: str, epochs: int, seeds: Iterable[int]
) -> tuple[float, list[float]]:
    """The learning rate of an arm, and the test accuracy of each seed."""

    def result(rate: float, seed: int) -> Any:
        key = {
            "set": name,
            "side": splits.train.pixels.shape[1],
            "arm": arm,
            "epochs": epochs,
            "rate": float(f"{rate:.3g}"),
            "seed": seed,
        }
        return runs.result(key, partial(train, splits, ARMS[arm], rate, epochs, seed))

    rates = [ARMS[arm].rate * factor for factor in (_RATES if ARMS[arm].search else (1.0,))]
    rate = min(rates, key=lambda rate: result(rate, 0)["val_loss"]) if len(rates) > 1 else rates[0]
    return rate, [result(rate, seed)["accuracy"] for seed in seeds]


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description="Recipes in equal time.")
    parser.add_argument("sets", nargs="*", default=["digits", "shapes"])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6, help="of the first arm")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=Path("time-to-accuracy.jsonl"))
    options = parser.parse_args()
    from components.io import process

    process.configure()
    runs = Runs(options.results)
    print(
        "| set | recipe | rate | test accuracy: mean (each seed) |", "|---|---|---|---|", sep="\n"
    )
    for name in options.sets:
        splits = load(name, options.side)
        for arm in options.arms:
            rate, found = accuracies(runs, name, splits, arm, options.epochs, options.seeds)
            each = ", ".join(f"{value:.3f}" for value in found)
            mean = statistics.mean(found)
            print(f"| {name} | {arm} | {rate:.2g} | {mean:.3f} ({each}) |", flush=True)


if __name__ == "__main__":
    main()
