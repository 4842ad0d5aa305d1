"""Where a train step of a test reads and writes, and its run in MLflow."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from components.core.artifacts import Hyperparameters, ModelCard, ValidationReport
from components.io import files
from tests.components.conftest import Workspace


def tuned(workspace: Workspace, folder: Path, **changes: Any) -> Path:
    digest = files.read_artifact(workspace.inputs["report"], ValidationReport).data_digest
    values = {
        "learning_rate": 3e-3,
        "epochs": 3,
        "horizontal_flip": True,
        "val_loss": 5.0,
        "val_accuracy": 0.5,
        "image_size": 32,
        "num_train_images": 17,
        "study": "tune-test",
        "trials_complete": 1,
        "trials_pruned": 0,
        "trials_failed": 0,
        "data_digest": digest,
    }
    path = folder / "hyperparameters.json"
    files.write_artifact(path, Hyperparameters(**{**values, **changes}))
    return path


def paths(workspace: Workspace, folder: Path, **changes: Any) -> dict[str, Path]:
    return {
        **workspace.inputs,
        "hyperparameters": tuned(workspace, folder, **changes),
        "checkpoint": folder / "checkpoint.bin",
        "model": folder / "model",
        "history": folder / "history.csv",
        "plot": folder / "history.png",
    }


def run_of(store: str, card: ModelCard) -> Run:
    client = MlflowClient(store)
    found = client.search_runs(
        [e.experiment_id for e in client.search_experiments()],
        filter_string=f"tags.`pipeline.key` = '{card.training_key}'",
    )
    return found[0]
