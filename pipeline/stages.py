"""The paths of dvc.yaml: what each step is called with, through every door."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from components.io import command, params

# Those of tune's arguments that a worker who helps it has, too.
WORKER_PATHS = ("images", "manifest", "report", "cache", "study")


def read_paths(root: Path) -> dict[str, dict[str, str]]:
    """Step -> argument -> path, as on the command lines of dvc.yaml below `root`."""
    stages = params.read_yaml(root / "dvc.yaml")["stages"]
    paths = {}
    for step in command.STEPS:
        words = shlex.split(stages[step]["cmd"].rpartition("&&")[2])[3:]  # python -m module
        names = [word.removeprefix("--").replace("-", "_") for word in words[::2]]
        paths[step] = dict(zip(names, words[1::2], strict=True))
    return paths


def write_arguments(paths: Mapping[str, str]) -> list[str]:
    """The words of a command line that give these paths to a step."""
    return [
        word
        for name, path in paths.items()
        for word in (f"--{name.replace('_', '-')}", path)
    ]  # fmt: skip
