"""The train step in two processes, as on two GPUs; here each has a share of the cores."""

from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.numpy import load_file

from components import train
from components.core.training.config import TrainingConfig
from components.io import models
from tests.components.conftest import Settings, Workspace
from tests.components.train.places import paths, run_of

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.timeout(600)]


def two(_config: TrainingConfig, _num_val_images: int) -> int:
    return 2


def test_two_processes_leave_the_model_and_the_run_of_one(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    changes = {"train.epochs": 2, "train.learning_rate": 1e-6, "training.seed": 41}
    params = settings(train.Params, changes)
    with monkeypatch.context() as patch:
        patch.setattr(train, "count_ranks", two)
        train.run(train.Paths(**paths(workspace, tmp_path / "two")), params)
    card = models.load_card(tmp_path / "two" / "model")
    run = run_of(store, card)
    assert run.data.tags["processes"] == "2"
    points = MlflowClient(store).get_metric_history(run.info.run_id, "train/learning_rate")
    assert [point.step for point in points] == [1, 2]  # the first process tracks, alone
    assert not (tmp_path / "two" / "checkpoint.bin").exists()
    lines = capfd.readouterr().out.splitlines()
    assert "train     2 GPUs: each has a share of every batch" in lines
    assert len([line for line in lines if "epoch 1/2" in line]) == 1

    train.run(train.Paths(**paths(workspace, tmp_path / "one")), params)
    expected = models.load_card(tmp_path / "one" / "model")
    assert card.training_key == expected.training_key
    assert card.val_loss == pytest.approx(expected.val_loss, abs=1e-4)
    weights, others = (
        load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("one", "two")
    )
    for name, values in weights.items():
        assert np.allclose(others[name], values, rtol=1e-3, atol=1e-4), name
