"""The entry points: the command line, the doctor, and Kubeflow Pipelines."""

from pathlib import Path

# Relative to the project, which is the current folder of every command.
SETTINGS = Path("params.yaml")
IMAGES = Path("data/images")
