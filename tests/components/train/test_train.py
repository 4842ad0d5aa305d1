"""The train step on small pictures, with a real MLflow store."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from components import train
from components.core.artifacts import Hyperparameters, ValidationReport
from components.core.errors import ChangedInput, Interrupted
from components.io import files, models
from tests.components.conftest import ROOT, Settings, Workspace, write_params

pytestmark = pytest.mark.usefixtures("store")


def tuned(workspace: Workspace, folder: Path, **changes: Any) -> Path:
    digest = files.read_artifact(workspace.inputs["report"], ValidationReport).data_digest
    values = {
        "learning_rate": 3e-3,
        "epochs": 3,
        "val_loss": 0.5,
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
        "picture": folder / "history.png",
    }


def test_train_writes_a_model_that_knows_where_it_comes_from(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    train.run(train.Paths(**paths(workspace, tmp_path)), settings(train.Params))
    loaded = models.load(tmp_path / "model")
    assert loaded.card.class_names == ["lying", "standing"]
    assert loaded.card.settings["learning_rate"] == 3e-3
    assert loaded.card.initial_weights == "random"
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert loaded.card.best_epoch == int(best["epoch"])
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "checkpoint.bin").exists()


def test_two_trainings_of_the_same_bytes_give_the_same_model(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(train.Params, {"train.epochs": 2})
    for name in ("one", "two"):
        train.run(train.Paths(**paths(workspace, tmp_path / name)), params)
    assert files.digest_folder(tmp_path / "one/model") == files.digest_folder(
        tmp_path / "two/model"
    )


def test_settings_in_params_win_over_the_tuned_ones(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(train.Params, {"train.epochs": 1, "train.learning_rate": 0.002})
    train.run(train.Paths(**paths(workspace, tmp_path)), params)
    card = models.load_card(tmp_path / "model")
    assert (card.settings["epochs"], card.settings["learning_rate"]) == (1, 0.002)


def test_the_run_holds_curves_settings_and_the_data_digest(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(train.Params, {"train.epochs": 2, "training.seed": 5})
    train.run(train.Paths(**paths(workspace, tmp_path)), params)
    card = models.load_card(tmp_path / "model")
    client = MlflowClient()
    runs = client.search_runs(
        [e.experiment_id for e in client.search_experiments()],
        filter_string=f"tags.`pipeline.key` = '{card.training_key}'",
    )
    assert len(runs) == 1
    assert runs[0].data.params["learning_rate"] == "0.003"
    assert runs[0].data.tags["data"] == card.data_digest
    history = client.get_metric_history(runs[0].info.run_id, "val/loss")
    assert [point.step for point in history] == [1, 2]
    assert runs[0].inputs is not None
    digests = [i.dataset.digest for i in runs[0].inputs.dataset_inputs]
    assert card.data_digest[:32] in digests


def test_hyperparameters_of_other_data_are_refused(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ChangedInput, match=r"was made from data 0000.*dvc repro tune"):
        train.run(
            train.Paths(**paths(workspace, tmp_path, data_digest="0" * 64)), settings(train.Params)
        )


def test_a_picture_that_changed_after_validation_is_refused(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(workspace.inputs["images"], images)
    for picture in images.glob("lying/*"):  # whichever split it is in
        picture.write_bytes(picture.read_bytes() + b"one more byte")
    inputs = {**paths(workspace, tmp_path), "images": images, "cache": tmp_path / "cache"}
    with pytest.raises(ChangedInput, match=r"bytes are not the ones"):
        train.run(train.Paths(**inputs), settings(train.Params))


def test_a_training_stopped_by_a_signal_continues_to_the_same_model(
    workspace: Workspace, tmp_path: Path
) -> None:
    settings_file = write_params(tmp_path / "params.yaml", {"train.epochs": 6})

    def command(folder: Path) -> list[str]:
        options = paths(workspace, folder)
        words = [w for k, v in options.items() for w in (f"--{k}", str(v))]
        return [sys.executable, "-m", "components.train", *words, "--params", str(settings_file)]

    whole = tmp_path / "whole"
    subprocess.run(command(whole), cwd=ROOT, check=True, capture_output=True)
    broken = tmp_path / "broken"
    process = subprocess.Popen(
        command(broken), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (broken / "checkpoint.bin").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Run the same command again" in errors
    assert not (broken / "model").exists()
    resumed = subprocess.run(command(broken), cwd=ROOT, check=True, capture_output=True, text=True)
    assert "resumed after" in resumed.stdout
    assert files.digest_folder(broken / "model") == files.digest_folder(whole / "model")


def test_sigterm_exits_143_after_saving(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.io import process as machine
    from components.io import progress

    def stop_now(self: progress.Progress, done: int, total: int) -> bool:
        self._stop.signal_number = signal.SIGTERM
        return True

    monkeypatch.setattr(progress.Progress, "after_batch", stop_now)
    assert machine.Stop().signal_number == 0
    with pytest.raises(Interrupted, match="batch 1 is saved") as stopped:
        train.run(train.Paths(**paths(workspace, tmp_path)), settings(train.Params))
    assert stopped.value.exit_code == 143
    assert (tmp_path / "checkpoint.bin").exists()
