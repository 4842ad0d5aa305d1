"""What a run was said to cost, and what it cost: time and memory of each step, by data set.

Run: python -m bench.forecast [--runs 3] [SET | FOLDER ...]

The sets are the sample with the committed settings, digits of 32 px, photographs of 800 x 600 px
with another network, these two with few epochs; a folder gets the settings of `init`. Each round
makes a new project, asks for the forecast, and runs the five steps as `dvc repro` does, each in a
process of its own. It prints a Markdown table with the relative error of each figure: 0 where what
was measured lies within the range that was said, else against its nearer end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from bench import growth, machine, recipes, training
from bench.diagnosis_data import DATA
from components import STEPS, validate
from pipeline import sample_data
from pipeline.forecast import forecast
from pipeline.forecast.costs import Span, StepCost

ROOT = Path(__file__).parent.parent

_SHORT = {
    "register.gate.min_test_images": 20,
    "register.gate.min_test_images_per_class": 5,
    "register.gate.min_accuracy": 0.05,
    "register.gate.min_macro_f1": 0.05,
    "register.gate.min_class_recall": 0.0,
}


def _digits(images: Path) -> None:
    from PIL import Image

    found = DATA["digits"](np.random.default_rng(0))
    for number, (pixels, label) in enumerate(zip(found.pixels, found.labels, strict=True)):
        target = images / str(label) / f"{number:04}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)


def _photographs(images: Path) -> None:
    growth.generate(images, 600, size=(800, 600))


# Name -> what writes its images, and settings beside the committed ones.
SETS: Mapping[str, tuple[Callable[[Path], object], Mapping[str, object]]] = {
    "sample": (sample_data.materialize, {}),
    "digits": (
        _digits,
        {
            **_SHORT,
            "model.image_size": 32,
            "tune.image_size": 32,
            "tune.epochs": [2, 4],
            "tune.num_trials": 4,
            "tune.train_fraction": 0.5,
            "training.horizontal_flip": False,
        },
    ),
    "photographs": (
        _photographs,
        {
            **_SHORT,
            "model.architecture": "mobilenet_v3_small",
            "model.image_size": 160,
            "tune.image_size": 96,
            "tune.epochs": [2, 3],
            "tune.num_trials": 3,
            "tune.train_fraction": 1.0,
            "training.batch_size": 16,
        },
    ),
}


def prepare(project: Path, name: str) -> None:
    """Make a project with a set and its settings, or with a folder and those of `init`."""
    (project / "data").mkdir(parents=True)
    for file in ("dvc.yaml", "data/groups.csv", "data/splits.csv"):
        shutil.copy(ROOT / file, project / file)
    if name not in SETS:
        shutil.copytree(name, project / "data/images")
        recipes.write_params(project / "params.yaml", Path(name).resolve(), seed=0)
        return
    write, settings = SETS[name]
    with contextlib.redirect_stdout(sys.stderr):
        write(project / "data/images")
    training.write_params(project / "params.yaml", settings)


def foretell(project: Path) -> tuple[list[StepCost], float]:
    """The forecast, and the seconds that it took."""
    with contextlib.chdir(project):
        started = time.monotonic()
        found = forecast(validate.Paths()).steps
        return found, time.monotonic() - started


def run(project: Path) -> dict[str, tuple[float, float]]:
    """Step -> the seconds and MiB that it took."""
    store = f"sqlite:///{project / 'mlflow.db'}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": store}
    timings = project / "timings"
    for step in STEPS:
        words = [sys.executable, "-m", "pipeline", "step", step]
        variables = {**environment, "PIPELINE_TIMINGS": str(timings), "PIPELINE_NO_FORECAST": "1"}
        subprocess.run(words, cwd=project, env=variables, check=True, stdout=sys.stderr)  # noqa: S603
    rows = [line.split() for line in timings.read_text().splitlines()]
    return {step: (float(seconds), float(mib)) for step, seconds, mib in rows}


def error(said: Span, measured: float) -> float:
    """Relative to what was measured; 0 within the range."""
    nearest = min(max(measured, said.low), said.high)
    return nearest / measured - 1


def rows(
    name: str, said: list[StepCost], found: Mapping[str, tuple[float, float]]
) -> Iterator[str]:
    """Markdown, a row a step."""
    for cost in said:
        seconds, mib = found[cost.step]
        low, likely, high = cost.seconds
        yield (
            f"| {name} | {cost.step} | {low:.1f} / {likely:.1f} / {high:.1f} | {seconds:.1f} | "
            f"{error(cost.seconds, seconds):+.0%} | {cost.mib:.0f} | {mib:.0f} | "
            f"{cost.mib / mib - 1:+.0%} |"
        )


def main() -> None:
    """Parse the command line, measure, print the tables."""
    parser = argparse.ArgumentParser(description="Forecasts against what runs cost.")
    parser.add_argument("sets", nargs="*", metavar="SET", help="name or class folder; default: all")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(machine.facts()), flush=True)
    print("| set | step | said: s low / likely / high | took s | error | said MiB | took | error |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for _ in range(options.runs):
        for name in options.sets or SETS:
            with tempfile.TemporaryDirectory() as folder:
                project = Path(folder) / "project"
                prepare(project, name)
                said, seconds = foretell(project)
                print(*rows(name, said, run(project)), sep="\n", flush=True)
                print(f"the forecast of {name} took {seconds:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
