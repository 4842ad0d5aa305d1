"""The columns of MLflow's table of runs: a view that lies in the experiment, and a link opens.

MLflow's UI keeps the chosen columns in the browser. What its button "Share" stores is a tag of the
experiment; a link with the tag's key shows that view, and nothing of the browser's own is changed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KEY = "overview"

_COLUMNS = (
    "tags.`gate`",
    "metrics.`test/accuracy`",
    "metrics.`test/accuracy_low`",
    "metrics.`best/val_loss`",
    "metrics.`best/val_accuracy`",
    "params.`learning_rate`",
    "params.`epochs`",
)

TAGS = {
    # Without it MLflow's page asks what kind of experiment it is.
    "mlflow.experimentKind": "custom_model_development",
    f"mlflow.sharedViewState.{_KEY}": json.dumps({"selectedColumns": _COLUMNS}),
}


def route(experiment_id: str) -> str:
    """The table inside the MLflow UI, in the mode that shows trainings."""
    view = f"workflowType=machine_learning&viewStateShareKey={_KEY}"
    return f"#/experiments/{experiment_id}/runs?{view}"


def describe(client: MlflowClient, experiment_id: str) -> None:
    """Let an experiment that an earlier version made, or somebody else, carry the view too."""
    known = client.get_experiment(experiment_id).tags
    for name, value in TAGS.items():
        if known.get(name) != value:
            client.set_experiment_tag(experiment_id, name, value)
