"""python -m pipeline VERB: everything a person types."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

from components import STEPS, evaluate, register, train, tune, validate
from components.core.errors import PipelineError
from components.io import command, models, params
from components.tracking import server
from pipeline import doctor, export, pins, pruning, replay, review, sample_data, tune_workers
from pipeline.kubeflow import resources as cluster
from pipeline.kubeflow import submit

SETTINGS = Path("params.yaml")
IMAGES = Path("data/images")
DECISION = Path("artifacts/register/decision.json")

# Every section of params.yaml with the class that owns it.
SECTIONS = {
    name: kind
    for kinds in (
        *(step.Params for step in (validate, tune, train, evaluate, register)),
        cluster.Params,
    )
    for name, kind in params.sections(kinds).items()
}


def check() -> None:
    """Refuse wrong settings, absent weights and a silent MLflow server before any work starts."""
    params.check(SETTINGS, SECTIONS)
    settings = params.load(SETTINGS, train.Params)
    models.find_initial_weights(settings.model.weights, settings.model.architecture)
    server.require_reachable(os.environ.get("MLFLOW_TRACKING_URI"))


def run_step(step: str, changes: Mapping[str, Path]) -> None:
    """Run one step of the pipeline, after a check of all of params.yaml."""
    check()
    module = importlib.import_module(f"components.{step}")
    module.run(module.Paths(**changes), params.load(SETTINGS, module.Params))


def materialize_sample() -> None:
    """Write the sample images to data/images."""
    sample_data.materialize(IMAGES)


def demo() -> None:
    """The whole pipeline on the sample (or on the images that are there), then the times."""
    if not IMAGES.exists():
        materialize_sample()
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


def pin_splits() -> None:
    """Write the splits of the last validation into data/splits.csv, where they stay."""
    done = Path("artifacts/validate")
    print(pins.pin(done / "manifest.parquet", done / "report.json", Path("data/splits.csv")))


def prove(decision: Path) -> None:
    """Compute a decision again from its stored evidence, and compare every byte."""
    print(replay.replay(decision))


def check_params() -> None:
    """Refuse wrong settings."""
    params.check(SETTINGS, SECTIONS)


def prepare_submit() -> None:
    """Refuse wrong settings and an absent kfp before the cluster is asked anything."""
    check_params()
    _load_kubeflow()


def compile_pipeline(output: Path, image: str) -> None:
    """Write the pipeline as YAML for Kubeflow, its tasks in an image pinned by digest."""
    check_params()
    kubeflow = _load_kubeflow()
    wanted = params.load(SETTINGS, cluster.Params).cluster
    kubeflow.compile_to(output, Path.cwd(), image, wanted)
    print(f"{output}: upload it to Kubeflow Pipelines")


def run_local() -> None:
    """Run Kubeflow's graph on this machine, in artifacts/run-local; no cluster, no containers."""
    check()
    kubeflow = _load_kubeflow()
    receipt = kubeflow.run_local(Path.cwd())
    print(f"run-local: {receipt.decision.verdict}; {kubeflow.LOCAL_OUTPUTS}/register")


def _load_kubeflow() -> ModuleType:
    """Half a second and an optional package: only for the verbs that need it."""
    try:
        return importlib.import_module("pipeline.kubeflow.compiler")
    except ImportError as error:
        raise PipelineError(
            f"{error}; run `make install`, or install this project with its extra `kubeflow`."
        ) from error


VERBS: dict[str, Callable[[], None]] = {
    "check": check,
    "demo": demo,
    "export": export_model,
    "pin-splits": pin_splits,
    "run-local": run_local,
    "sample-data": materialize_sample,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Folders of pictures in, a reviewed model version out.",
        epilog="Exit codes: 0 done, 1 you can fix it, 2 wrong usage, 3 the answer is no, 5 a "
        "service did not answer, 70 a bug of ours, 130 interrupted, 143 told to stop.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, action in VERBS.items():
        _add(verbs, name, action).set_defaults(act=lambda _, action=action: action())
    stepping = _add(verbs, "step", run_step).add_subparsers(dest="step", required=True)
    for name in STEPS:
        module = importlib.import_module(f"components.{name}")
        step = _add(stepping, name, module.run)
        hints = get_type_hints(module.Paths, include_extras=True)
        for field in dataclasses.fields(module.Paths):
            text = f"{hints[field.name].__metadata__[0]}; default: {field.default}"
            option = f"--{field.name.replace('_', '-')}"
            step.add_argument(option, type=Path, metavar="PATH", help=text, default=field.default)
        step.set_defaults(act=_run_step)
    proof = _add(verbs, "replay", prove)
    proof.add_argument("decision", type=Path, nargs="?", default=DECISION)
    proof.set_defaults(act=lambda arguments: prove(arguments.decision))
    compiling = _add(verbs, "compile", compile_pipeline)
    compiling.add_argument("--output", type=Path, required=True, metavar="FILE")
    compiling.add_argument("--image", required=True, metavar="NAME@sha256:DIGEST")
    compiling.set_defaults(act=lambda given: compile_pipeline(given.output, given.image))
    tune_workers.add_parser(verbs)
    submit.add_parser(verbs, prepare_submit)
    doctor.add_parser(verbs, check_params)
    review.add_parsers(verbs)
    pruning.add_parsers(verbs)
    arguments = parser.parse_args(argv)
    name = arguments.step if arguments.verb == "step" else arguments.verb
    return command.exit_code_of(lambda: arguments.act(arguments), name)


def _run_step(given: argparse.Namespace) -> None:
    kind = importlib.import_module(f"components.{given.step}").Paths
    run_step(given.step, {f.name: getattr(given, f.name) for f in dataclasses.fields(kind)})


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    action: Callable[..., None],
) -> argparse.ArgumentParser:
    text = (action.__doc__ or "").splitlines()[0]
    return verbs.add_parser(name, help=text, description=text)


if __name__ == "__main__":
    raise SystemExit(main())
