"""Test accuracy of the pipeline against a plain torchvision script, on folders of any kind.

Run: python -m bench.recipes FOLDER [FOLDER ...] --seeds 0 1 2 --results recipes.jsonl

Ours: validate, tune, train and evaluate with the settings that `python -m pipeline init` writes for
such images, nothing edited; tuned once for each folder (seed 0), then trained with each seed.
Plain: the script that most people write. It learns from the same train images for as many epochs
as ours chose, and is measured on the same test images: ResNet-18 from random weights,
RandomResizedCrop(scale=(0.5, 1)), RandomHorizontalFlip, AdamW at a constant 1e-3, batches of 32,
the last epoch. Both compute in bf16 where the machine has it.

`--sides ours preset` compares with ours without tune: the learning rate of the preset, the middle
of its epochs, mirrored images.

Runs that are in the file of results are not done again, so a stopped bench goes on where it was;
hours on 2 cores. It prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

BATCH, LEARNING_RATE = 32, 1e-3  # of the plain script
Result = dict[str, Any]


# Dotted names -> values in place of what init writes; --set.
CHANGES: dict[str, str] = {}


def write_params(path: Path, folder: Path, seed: int) -> Path:
    """What `python -m pipeline init` writes for the folder, with another seed of the training."""
    from pipeline.new_project.source import read_source
    from pipeline.new_project.summary import propose

    yaml = YAML(typ="safe", pure=True)
    settings = yaml.load(propose(read_source(folder, ()), folder.name).text)
    settings["training"]["seed"] = seed
    for name, value in CHANGES.items():
        section, key = name.split(".")
        settings[section][key] = yaml.load(value)
    yaml.dump(settings, path)
    return path


def paths(kind: Callable[..., Any], folder: Path, work: Path, seed: int | str) -> Any:
    """The `Paths` of a step: its defaults, below `work`, with a folder for each seed's model."""
    found = {}
    for field in fields(kind):  # type: ignore[arg-type]
        place = str(field.default)
        for step in ("train", "evaluate"):
            place = place.replace(f"artifacts/{step}/", f"artifacts/{step}-{seed}/")
        found[field.name] = work / place
    return kind(**(found | {"images": folder}))


def prepare(folder: Path, work: Path) -> int:
    """Validate and tune, unless that is done; returns the number of epochs that tune chose."""
    from components import tune, validate
    from components.io import params

    settings = write_params(work / "params.yaml", folder, seed=0)
    (work / "data").mkdir(exist_ok=True)
    (work / "data/groups.csv").write_text("path,group\n")
    (work / "data/splits.csv").write_text("pixel_sha256,split,path\n")
    for step in (validate, tune):
        step.run(paths(step.Paths, folder, work, 0), params.load(settings, step.Params))
    found = json.loads((work / "artifacts/tune/hyperparameters.json").read_text())
    return int(found["epochs"])


def ours(folder: Path, work: Path, seed: int, _epochs: int) -> float:
    """Train and evaluate with the tuned settings: test accuracy."""
    from components import evaluate, train
    from components.io import params

    settings = write_params(work / f"params-{seed}.yaml", folder, seed)
    for step in (train, evaluate):
        step.run(paths(step.Paths, folder, work, seed), params.load(settings, step.Params))
    metrics = json.loads((work / f"artifacts/evaluate-{seed}/metrics.json").read_text())
    return float(metrics["accuracy"])


def preset(folder: Path, work: Path, seed: int, _epochs: int) -> float:
    """Train and evaluate with what the preset says, tune's choices left unused: test accuracy."""
    from components import evaluate, train
    from components.core.training.presets import choose_preset
    from components.io import params

    report = json.loads((work / "artifacts/validate/report.json").read_text())
    yaml = YAML(typ="safe", pure=True)
    settings = yaml.load(write_params(work / f"preset-{seed}.yaml", folder, seed))
    name, weights = settings["training"]["preset"], settings["model"]["weights"]
    images = sum(splits["train"] for splits in report["counts"].values())
    chosen = choose_preset(name, images, weights)
    settings["train"]["learning_rate"] = chosen.learning_rate
    settings["train"]["epochs"] = sum(chosen.epochs) // 2
    settings["training"]["horizontal_flip"] = True
    yaml.dump(settings, work / f"preset-{seed}.yaml")
    for step in (train, evaluate):
        found = params.load(work / f"preset-{seed}.yaml", step.Params)
        step.run(paths(step.Paths, folder, work, f"preset-{seed}"), found)
    metrics = json.loads((work / f"artifacts/evaluate-preset-{seed}/metrics.json").read_text())
    return float(metrics["accuracy"])


def plain(folder: Path, work: Path, seed: int, epochs: int) -> float:
    """The plain script on the images that validate put into train and test: test accuracy."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import models, transforms

    from components.core.training.inference import resolve_precision

    size = int(YAML(typ="safe", pure=True).load(work / "params.yaml")["model"]["image_size"])
    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    tensor = [transforms.ToTensor(), normalize]
    crop = transforms.RandomResizedCrop(size, scale=(0.5, 1.0))
    changed = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *tensor])
    still = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), *tensor])
    torch.manual_seed(seed)
    train: Any = _split(folder, work, "train", changed)
    test: Any = _split(folder, work, "test", still)
    classes = json.loads((work / "artifacts/validate/report.json").read_text())["class_names"]
    network = models.resnet18(num_classes=len(classes))
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    loss_of = torch.nn.CrossEntropyLoss()
    bf16 = torch.autocast(
        "cpu", torch.bfloat16, resolve_precision("auto", "cpu", "resnet18") == "bf16"
    )
    network.train()
    for _ in range(epochs):
        for inputs, labels in DataLoader(train, BATCH, shuffle=True, num_workers=2, drop_last=True):
            optimizer.zero_grad()
            with bf16:
                logits = network(inputs)
            loss_of(logits.float(), labels).backward()
            optimizer.step()
    network.eval()
    right = 0
    with torch.inference_mode():
        for inputs, labels in DataLoader(test, BATCH):
            right += int((network(inputs).argmax(1) == labels).sum())
    return right / len(test)


@dataclass(frozen=True)
class Images:
    """The images of one split, decoded anew and changed anew each time they are asked for."""

    folder: Path
    samples: list[tuple[str, int]]  # path and class index
    transform: Any

    def __len__(self) -> int:
        """Number of images."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """The changed image and its class index; read as torchvision's ImageFolder reads it."""
        from torchvision.datasets.folder import default_loader

        path, label = self.samples[index]
        return self.transform(default_loader(self.folder / path)), label


SIDES = {"ours": ours, "plain": plain, "preset": preset}


def _split(folder: Path, work: Path, split: str, transform: object) -> Images:
    """The images that validate put into this split."""
    import pandas as pd

    rows = pd.read_parquet(work / "artifacts/validate/manifest.parquet")
    rows = rows[rows["status"] == "used"]
    classes = sorted(rows["label"].unique())
    chosen = rows[rows["split"] == split]
    labels = [classes.index(label) for label in chosen["label"]]
    return Images(folder, list(zip(chosen["path"], labels, strict=True)), transform)


def run(folder: Path, work: Path, sides: list[str], seeds: list[int], results: Path) -> None:
    """Do the runs of one folder that are missing, each with a line in the file of results."""
    done = {(r["set"], r["side"], r["seed"]) for r in read(results)}
    missing = [
        (side, seed) for seed in seeds for side in sides if (folder.name, side, seed) not in done
    ]
    if not missing:
        return
    work.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{work / 'mlflow.db'}"
    started = time.monotonic()
    epochs = prepare(folder, work)
    print(f"{folder.name}: prepared in {time.monotonic() - started:.0f} s", flush=True)
    for side, seed in missing:
        started = time.monotonic()
        accuracy = SIDES[side](folder, work, seed, epochs)
        seconds = round(time.monotonic() - started)
        found = {"set": folder.name, "side": side, "seed": seed, "accuracy": accuracy}
        with results.open("a") as file:
            file.write(json.dumps({**found, "epochs": epochs, "seconds": seconds}) + "\n")
        print(f"{folder.name}: {side}, seed {seed}: {accuracy:.3f} in {seconds} s", flush=True)


def read(results: Path) -> list[Result]:
    """The runs that are done."""
    return [json.loads(line) for line in results.read_text().splitlines()]


def table(found: list[Result], sides: list[str]) -> str:
    """Markdown: a row for each folder, mean and every seed of both sides, and the difference."""
    heads = " | ".join(f"{side}: mean (each seed)" for side in sides)
    lines = [f"| set | epochs | {heads} | {sides[0]} - {sides[1]} |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(r["set"] for r in found):
        means, cells = [], []
        for side in sides:
            values = [r["accuracy"] for r in found if (r["set"], r["side"]) == (name, side)]
            means.append(statistics.mean(values) if values else math.nan)
            each = ", ".join(f"{value:.3f}" for value in values)
            cells.append(f"{means[-1]:.3f} ({each})")
        epochs = next(r["epochs"] for r in found if r["set"] == name)
        difference = f"{means[0] - means[1]:+.3f}"
        lines.append(f"| {name} | {epochs} | {cells[0]} | {cells[1]} | {difference} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, do what is missing, print the table."""
    parser = argparse.ArgumentParser(description="Accuracy against a plain torchvision script.")
    parser.add_argument("folders", type=Path, nargs="+", help="of class folders")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sides", nargs=2, default=["ours", "plain"], choices=list(SIDES))
    parser.add_argument("--results", type=Path, default=Path("recipes.jsonl"))
    parser.add_argument(
        "--set",
        metavar="SECTION.NAME=VALUE",
        action="append",
        default=[],
        help="another setting than init writes",
    )
    parser.add_argument("--work", type=Path, help="folder for what the steps write")
    options = parser.parse_args()
    work = options.work or Path(tempfile.gettempdir()) / "bench-recipes"
    options.results.touch()
    CHANGES.update(change.split("=", 1) for change in options.set)
    for folder in options.folders:
        run(
            folder.resolve(),
            work.resolve() / folder.name,
            options.sides,
            options.seeds,
            options.results,
        )
    print(table(read(options.results), options.sides))


if __name__ == "__main__":
    main()
