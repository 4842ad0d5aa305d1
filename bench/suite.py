"""Measures what docs/performance.md shows: this project, a plain script and the limit, in turn.

Run: python -m bench.suite [--peers] [--rounds 3] [--timm-train FILE] [--quick]

Each round runs every side once, so that a machine that drifts drifts for all. What was measured
is in docs/performance/suite.json after each run of a side: stopped, it goes on where it was;
complete, it starts anew. `python -m bench.page` writes the page. Quick is a test of this code,
not a measurement.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import doors, machine, training
from bench.processes import ROOT
from bench.training import Work

WORK_FOLDER = ROOT / ".bench"
RESULTS = ROOT / "docs/performance/suite.json"

_QUICK_WORK = Work(train=64, val=16, size=64, batch=8, epochs=2)
_QUICK_PIPELINE = {
    "model.image_size": 32,
    "tune.image_size": 32,
    "tune.num_trials": 1,
    "tune.epochs": [1, 1],
    "train.epochs": 1,
    "register.gate.min_test_images": 10,
    "register.gate.min_test_images_per_class": 5,
}

Results = dict[str, Any]


def sample_images() -> Path:
    """The sample's class folders; written on first use."""
    from pipeline import sample_data

    folder = WORK_FOLDER / "sample"
    WORK_FOLDER.mkdir(exist_ok=True)
    sample_data.materialize(folder)
    return folder


def begin(file: Path, settings: Results) -> Results:
    """What an unfinished run with these settings has measured, or a new run."""
    if file.exists():
        results: Results = json.loads(file.read_text())
        if results["settings"] == settings and not results["complete"]:
            return results
    return {
        "settings": settings,
        "complete": False,
        "machine": machine.facts(),
        "training": {},
        "pipeline": {},
        "commands": {},
        "validation": [],
    }


def save(file: Path, results: Results) -> None:
    """Write them, whole or not at all."""
    from components.io import files

    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, json.dumps(results, indent=1) + "\n")


Step = tuple[str, Callable[[], None]]


def steps(results: Results, options: argparse.Namespace) -> Iterator[Step]:
    """What is left to measure: a name, and what measures it into `results`."""
    yield from _training_steps(results, options)
    yield from _validation_steps(results, options)
    yield from _command_steps(results, options)


def _training_steps(results: Results, options: argparse.Namespace) -> Iterator[Step]:
    work = _QUICK_WORK if options.quick else Work()
    folder, found = WORK_FOLDER / "training", results["training"]
    names = training.sides(options.peers)
    left = [
        (number, side)
        for number in range(options.rounds)
        for side in names
        if len(found.setdefault(side, [])) <= number
    ]
    if left:
        yield "training: preparing", lambda: training.prepare(sample_images(), folder, work)
    for number, side in left:

        def measure(side: str = side) -> None:
            found[side].append(training.measure(side, folder, work, options.timm_train))

        yield f"training: round {number + 1}, {side}", measure


def _validation_steps(results: Results, options: argparse.Namespace) -> Iterator[Step]:
    def measure() -> None:
        command = [sys.executable, "-m", "bench.validation", "--images", str(sample_images())]
        done = subprocess.run(  # noqa: S603
            [*command, "--rounds", str(options.rounds)],
            check=True,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        results["validation"] = json.loads(done.stdout.splitlines()[-1])

    if not results["validation"]:
        yield "validation", measure


def _command_steps(results: Results, options: argparse.Namespace) -> Iterator[Step]:
    project, found = WORK_FOLDER / "project", results["commands"]
    changes = _QUICK_PIPELINE if options.quick else {}

    def first_run() -> None:
        doors.prepare(sample_images(), project, changes)
        results["pipeline"] = doors.run_pipeline(project)

    left = [
        (number, command)
        for number in range(options.rounds)
        for command in doors.COMMANDS
        if len(found.setdefault(command, [])) <= number
    ]
    if not results["pipeline"] or not project.exists():
        yield "the whole pipeline", first_run
    for number, command in left:

        def measure(command: str = command) -> None:
            found[command].append(doors.measure(command, project))

        yield f"commands: round {number + 1}, {command}", measure


def main() -> None:
    """Measure all that is left."""
    parser = argparse.ArgumentParser(description="The figures of docs/performance.md.")
    parser.add_argument("--peers", action="store_true", help="timm, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timm-train", type=Path, help="timm's train.py; default: its parts")
    parser.add_argument("--quick", action="store_true", help="tiny work, a test of this code")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    work = _QUICK_WORK if options.quick else Work()
    peer = "train.py" if options.timm_train else "parts"
    settings = {
        "work": asdict(work),
        "rounds": options.rounds,
        "timm": peer if options.peers else "",
        "precision": training.precision(),
    }
    results = begin(options.results, settings)
    for name, measure in steps(results, options):
        print(name, flush=True)
        measure()
        save(options.results, results)
    results["complete"] = True
    save(options.results, results)
    print(f"{options.results}; next: python -m bench.page")


if __name__ == "__main__":
    main()
