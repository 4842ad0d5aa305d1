"""How time and memory of validate and train grow with the data: generated JPEG files.

Run: python -m bench.growth [--images 1000 10000 50000]

What was measured is in docs/performance/growth.json after each step; it is not measured again
unless --anew is given. Images are of 96 px, trained on for one epoch at 32 px: what grows is what
counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import machine, processes, suite, training
from bench.processes import ROOT

RESULTS = ROOT / "docs/performance/growth.json"
SIDE = 96

_CLASSES = ("bright", "dark")
_SETTINGS = {
    "model.image_size": 32,
    "training.batch_size": 64,
    "training.augmentation": "none",
    "train.epochs": 1,
    "train.learning_rate": 1e-3,
    # few val images: their scores are no part of what grows evenly
    "validate.split": {"train": 0.9, "val": 0.05, "test": 0.05},
}


def generate(folder: Path, images: int, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    """Class folders of JPEG files, no two alike: smooth colors with a little texture."""
    for number in range(images):
        rng = np.random.default_rng(number)
        label = number % 2
        coarse = rng.integers(40 + 60 * (1 - label), 160 + 60 * (1 - label), (8, 8, 3), np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        target = folder / _CLASSES[label] / f"{number:06}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, quality=90)


def prepare(project: Path, images: int) -> None:
    """Make a project with so many images."""
    shutil.rmtree(project, ignore_errors=True)
    generate(project / "data/images", images)
    for name in ("dvc.yaml", "data/groups.csv", "data/splits.csv"):
        shutil.copy(ROOT / name, project / name)
    training.write_params(project / "params.yaml", _SETTINGS)


def measure(step: str, project: Path) -> dict[str, float]:
    """Seconds and MiB of a step, run as a person runs it, but without the forecast of its cost.

    That is a training of its own, as large whatever the number of images.
    """
    if step == "train":
        training.write_hyperparameters(project, epochs=1)
    finished = processes.run(
        [sys.executable, "-m", "pipeline", "step", step],
        folder=project,
        environment={
            "MLFLOW_TRACKING_URI": f"sqlite:///{project.absolute()}/mlflow.db",
            "PIPELINE_NO_FORECAST": "1",
        },
    )
    return {"seconds": finished.seconds, "peak_mib": finished.peak_own_mib, **finished.inside}


def main() -> None:
    """Measure what is not yet known."""
    parser = argparse.ArgumentParser(description="Growth of time and memory with the data.")
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--anew", action="store_true", help="forget what was measured before")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine.facts(), "sets": []}
    if options.results.exists() and not options.anew:
        results = json.loads(options.results.read_text())
    for images in options.images:
        found = next((each for each in results["sets"] if each["images"] == images), None)
        if found is None:
            found = {"images": images}
            results["sets"].append(found)
        project = suite.WORK_FOLDER / f"growth-{images}"
        left = [step for step in ("validate", "train") if step not in found]
        if left:
            prepare(project, images)
        for step in ("validate", "train") if left else ():  # train needs what validate writes
            found[step] = measure(step, project)
            print(images, step, found[step], flush=True)
            suite.save(options.results, results)
        shutil.rmtree(project, ignore_errors=True)


if __name__ == "__main__":
    main()
