"""python -m pipeline VERB: everything a person types."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from components import evaluate, register, train, tune, validate
from components.core.errors import PipelineError
from components.io import command, models, params
from components.io.tracking import server
from pipeline import export, sample_data

SETTINGS = Path("params.yaml")
IMAGES = Path("data/images")

# Every section of params.yaml with the class that owns it.
SECTIONS = {
    name: kind
    for step in (validate, tune, train, evaluate, register)
    for name, kind in params.sections(step.Params).items()
}


def check() -> None:
    """Refuse wrong settings, absent weights and a silent MLflow server before any work starts."""
    params.check(SETTINGS, SECTIONS)
    settings = params.load(SETTINGS, train.Params)
    models.find_initial_weights(settings.model.weights, settings.model.architecture)
    server.require_reachable(os.environ.get("MLFLOW_TRACKING_URI"))


def materialise_sample() -> None:
    """Write the sample images to data/images."""
    sample_data.materialise(IMAGES)


def demo() -> None:
    """The whole pipeline on the sample (or on the images that are there), then the times."""
    if not IMAGES.exists():
        materialise_sample()
    with tempfile.TemporaryDirectory() as folder:
        timings = Path(folder) / "timings"
        started = time.monotonic()
        environment = {**os.environ, "PIPELINE_TIMINGS": str(timings)}
        dvc = [sys.executable, "-m", "dvc", "repro"]
        # `python` in dvc.yaml must be this environment's
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"
        code = subprocess.run(dvc, env=environment, check=False).returncode  # noqa: S603
        _print_timings(timings, time.monotonic() - started)
    if code:
        raise PipelineError("demo: dvc repro failed; the reason stands above.")
    print("\nNext: make ui (runs and versions), dvc plots show, artifacts/validate/report.html")


def export_model() -> None:
    """Write the trained model as ONNX to artifacts/export, if it answers the same."""
    difference = export.export_onnx(Path("artifacts/train/model"), Path("artifacts/export"))
    print(f"artifacts/export/model.onnx: same probabilities to {difference:.1e}")


def _print_timings(path: Path, total: float) -> None:
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    print(f"\n{'step':<10}{'seconds':>8}{'peak MiB':>10}")
    for step, seconds, mebibytes in rows:
        print(f"{step:<10}{float(seconds):>8.1f}{mebibytes:>10}")
    print(f"{'total':<10}{total:>8.1f}")


VERBS = {
    "check": check,
    "demo": demo,
    "export": export_model,
    "sample-data": materialise_sample,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Folders of pictures in, a reviewed model version out.",
        epilog="Exit codes: 0 done, 1 you can fix it, 2 wrong usage, 5 a service did not answer, "
        "70 a bug of ours, 130 interrupted.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, action in VERBS.items():
        text = (action.__doc__ or "").splitlines()[0]
        verbs.add_parser(name, help=text, description=text)
    verb = parser.parse_args(argv).verb
    return command.guarded(VERBS[verb], verb)


if __name__ == "__main__":
    raise SystemExit(main())
