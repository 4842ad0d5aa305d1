from pathlib import Path

import pytest

from components.core.errors import InvalidParams
from components.io import params
from pipeline.kubeflow import resources
from tests.components.conftest import write_params


def load(folder: Path, changes: dict[str, object]) -> resources.ClusterParams:
    file = write_params(folder / "params.yaml", changes)
    return params.load(file, resources.Params).cluster


def test_each_step_asks_for_what_its_own_line_says(tmp_path: Path) -> None:
    changes: dict[str, object] = {
        f"cluster.{step}.minutes": minutes
        for minutes, step in enumerate(
            ("fetch", "validate", "tune", "train", "evaluate", "register"), start=1
        )
    }
    found = load(tmp_path, changes)
    assert [found.task(name.split(".")[1]).minutes for name in changes] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cluster.evaluate.cpu": [4, 2]}, "asks for more than its limit"),
        ({"cluster.tune.memory_gib": [8, 4]}, "asks for more than its limit"),
        ({"cluster.train.shared_memory_gib": 24}, "shared_memory_gib is taken from memory_gib"),
        ({"cluster.tracking_uri": "http://user:word@mlflow"}, "cluster.tracking_uri is"),
        ({"cluster.storage_endpoint": "seaweedfs:8333"}, "cluster.storage_endpoint is"),
        ({"cluster.user": 0}, "cluster.user is 0"),
        ({"cluster.gpu.resource": "gpu"}, "cluster.gpu.resource is"),
        ({"cluster.tune.gpus": 2}, "a trial uses one GPU; set it to 1 and cluster.workers"),
        ({"cluster.workers": 2}, "need access_mode ReadWriteMany and an optuna_secret"),
        (
            {
                "cluster.workers": 2,
                "cluster.access_mode": "ReadWriteMany",
                "cluster.optuna_secret": None,
            },
            "an optuna_secret; or set workers to 1",
        ),
        (
            {"cluster.workspace_claim": "workspace", "cluster.workspace_days": 1},
            "no longer than the longest step may take .1440 minutes.",
        ),
        ({"cluster.access_mode": "ReadOnlyMany"}, "'ReadWriteOnce' or 'ReadWriteMany'"),
    ],
)
def test_what_a_cluster_would_refuse_is_refused_here(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParams, match=message):
        load(tmp_path, changes)


@pytest.mark.parametrize("step", ["fetch", "validate", "evaluate", "register"])
def test_a_step_that_does_not_train_cannot_ask_for_a_gpu(step: str, tmp_path: Path) -> None:
    file = write_params(tmp_path / "params.yaml", {})
    text = file.read_text()
    start = text.index(f"  {step}:", text.index("\ncluster:") if "\ncluster:" in text else 0)
    file.write_text(f"{text[:start]}  {step}:\n    gpus: 1{text[start + len(step) + 3 :]}")
    with pytest.raises(InvalidParams, match=rf"cluster\.{step}\.gpus is not a setting"):
        params.load(file, resources.Params)
