"""What a person waits for: the whole pipeline on the sample, and commands that have nothing to do.

All run in a project of its own, made anew: a copy of this code with the sample's images.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import processes
from bench.processes import ROOT
from bench.training import write_params

# What the project is made of.
_PARTS = ("components", "pipeline", "dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config")
_TABLES = ("data/groups.csv", "data/splits.csv")

_PIPELINE = (sys.executable, "-m", "pipeline")

# Command that is measured in each round -> its words.
COMMANDS: Mapping[str, Sequence[str]] = {
    "import mlflow": (sys.executable, "-c", "import mlflow"),
    "status": (*_PIPELINE, "status"),
    "history": (*_PIPELINE, "history"),
    "--help": (*_PIPELINE, "--help"),
    "dvc repro": (sys.executable, "-m", "dvc", "repro"),
}

# Inside these functions a pipeline trains or decodes.
TRAINING, DECODING = ("fit",), ("scan", "open_pixels")


def prepare(sample: Path, project: Path, changes: Mapping[str, object]) -> None:
    """Make the project.

    Args:
        sample: class folders.
        project: to make; whatever is there is deleted.
        changes: of params.yaml, at dotted keys.
    """
    shutil.rmtree(project, ignore_errors=True)
    for name in (*_PARTS, *_TABLES):
        source, target = ROOT / name, project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    write_params(project / "params.yaml", changes)
    shutil.copytree(sample, project / "data/images")
    for words in (("git", "init", "-q"), (sys.executable, "-m", "dvc", "add", "-q", "data/images")):
        subprocess.run(words, cwd=project, check=True, env=_environment())  # noqa: S603


def _environment() -> dict[str, str]:
    """Nothing of the user's own store; `python` is this one."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"}


def run_pipeline(project: Path) -> dict[str, float]:
    """The first `dvc repro`: its seconds, and those inside training and decoding."""
    finished = processes.run(COMMANDS["dvc repro"], folder=project, environment=_own(project))
    inside = finished.inside
    return {
        "seconds": finished.seconds,
        "training": sum(inside.get(name, 0.0) for name in TRAINING),
        "decoding": sum(inside.get(name, 0.0) for name in DECODING),
    }


def measure(command: str, project: Path) -> float:
    """Seconds that one of `COMMANDS` takes."""
    words = COMMANDS[command]
    return processes.run(words, folder=project, environment=_own(project)).seconds


def _own(project: Path) -> dict[str, str]:
    database = f"sqlite:///{project.absolute()}/mlflow.db"
    path = _environment()["PATH"]
    return {"PATH": path, "PYTHONPATH": str(project.absolute()), "MLFLOW_TRACKING_URI": database}
