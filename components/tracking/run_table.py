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

# Name -> width in pixels. Without an order MLflow sorts them by kind and alphabet.
_COLUMNS = {
    "tags.`gate`": 90,
    "metrics.`test/accuracy`": 120,
    "metrics.`test/accuracy_low`": 150,
    "metrics.`best/val_loss`": 120,
    "params.`learning_rate`": 120,
    "params.`epochs`": 80,
}
_WIDTHS = {"attributes.`Run Name`": 260, **_COLUMNS}
_VIEW = {
    "selectedColumns": list(_COLUMNS), "columnOrder": list(_WIDTHS), "columnWidths": _WIDTHS
}  # fmt: skip

TAGS = {
    # Without it MLflow's page asks what kind of experiment it is.
    "mlflow.experimentKind": "custom_model_development",
    f"mlflow.sharedViewState.{_KEY}": json.dumps(_VIEW),
}


# MLflow's pages open in a mode for language models, unless a link says this.
MODE = "workflowType=machine_learning"


def route(experiment_id: str) -> str:
    """The table inside the MLflow UI."""
    return f"#/experiments/{experiment_id}/runs?{MODE}&viewStateShareKey={_KEY}"


def describe(client: MlflowClient, experiment_id: str) -> None:
    """Let an experiment that an earlier version made, or somebody else, carry the view too."""
    known = client.get_experiment(experiment_id).tags
    for name, value in TAGS.items():
        if known.get(name) != value:
            client.set_experiment_tag(experiment_id, name, value)
