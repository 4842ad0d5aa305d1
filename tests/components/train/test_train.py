"""The train step on small images, with a real MLflow store."""

import csv
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from components import train
from components.core.artifacts import ModelCard, ValidationReport
from components.core.errors import ChangedInput, Interrupted
from components.core.training import drift
from components.io import files, models, process, progress, reference
from components.io.params import load as load_params
from components.train.key import expected_key
from tests.components.conftest import ROOT, Settings, Workspace, write_params
from tests.components.train.places import paths, run_of

pytestmark = pytest.mark.usefixtures("store")


class Trained(NamedTuple):
    """What train left in its folder and in MLflow, before anything else trained the same."""

    folder: Path
    card: ModelCard
    runs: list[Run]
    history: list[Metric]


CHANGES = {"train.epochs": 2, "training.seed": 5}


@pytest.fixture(scope="module")
def trained(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two epochs, once for all tests of this file."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.getbasetemp()}/mlflow.db")
        patch.chdir(tmp_path_factory.getbasetemp())
        settings = load_params(write_params(folder / "params.yaml", CHANGES), train.Params)
        train.run(train.Paths(**paths(workspace, folder)), settings)
        card = models.load_card(folder / "model")
        client = MlflowClient()
        runs = client.search_runs(
            [e.experiment_id for e in client.search_experiments()],
            filter_string=f"tags.`pipeline.key` = '{card.training_key}'",
        )
        history = client.get_metric_history(runs[0].info.run_id, "val/loss")
    return Trained(folder, card, list(runs), list(history))


def test_train_writes_a_model_that_knows_where_it_comes_from(trained: Trained) -> None:
    loaded = models.load(trained.folder / "model")
    assert loaded.card.class_names == ["lying", "standing"]
    assert loaded.card.settings["learning_rate"] == 3e-3
    assert loaded.card.initial_weights == "random"
    rows = list(csv.DictReader((trained.folder / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert loaded.card.best_epoch == int(best["epoch"])
    assert (trained.folder / "history.png").read_bytes().startswith(b"\x89PNG")
    assert not (trained.folder / "checkpoint.bin").exists()


def test_the_model_carries_the_statistics_of_val_for_later(
    trained: Trained, workspace: Workspace
) -> None:
    report = files.read_artifact(workspace.inputs["report"], ValidationReport)
    known = reference.read(trained.folder / "model", trained.card)
    val = sum(counts["val"] for counts in report.counts.values())
    assert known.statistics.shape == (val, len(drift.STATISTICS))
    assert known.class_means.shape == (2, 512)
    assert known.class_means.std(axis=0).max() > 0


def test_the_run_holds_curves_settings_and_the_data_digest(trained: Trained) -> None:
    assert len(trained.runs) == 1
    run = trained.runs[0]
    assert run.data.params["learning_rate"] == "0.003"
    assert run.data.tags["data"] == trained.card.data_digest
    assert [point.step for point in trained.history] == [1, 2]
    assert run.inputs is not None
    digests = [i.dataset.digest for i in run.inputs.dataset_inputs]
    assert trained.card.data_digest[:32] in digests


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"training.device": "auto", "training.precision": "auto"}, True),
        ({"train.learning_rate": 0.002}, False),
        ({"train.epochs": 3}, False),
        ({"training.seed": 6}, False),
        ({"data.background": [0, 0, 0]}, False),
    ],
)
def test_the_key_of_a_model_is_that_of_what_it_was_trained_with(
    changes: dict[str, object],
    same: bool,
    trained: Trained,
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
) -> None:
    params = settings(train.Params, {**CHANGES, **changes})
    found = expected_key(train.Paths(**paths(workspace, tmp_path)), params, trained.card)
    assert (found == trained.card.training_key) is same


@pytest.mark.row("R16")
def test_two_trainings_of_the_same_bytes_give_the_same_model(
    trained: Trained, workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    train.run(train.Paths(**paths(workspace, tmp_path)), settings(train.Params, CHANGES))
    assert files.digest_folder(tmp_path / "model") == files.digest_folder(trained.folder / "model")


def test_settings_in_params_win_over_the_tuned_ones(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(train.Params, {"train.epochs": 1, "train.learning_rate": 0.002})
    train.run(train.Paths(**paths(workspace, tmp_path)), params)
    card = models.load_card(tmp_path / "model")
    assert (card.settings["epochs"], card.settings["learning_rate"]) == (1, 0.002)


def test_the_flip_that_tune_found_better_is_used(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(train.Params, {"train.epochs": 1, "training.horizontal_flip": "auto"})
    train.run(train.Paths(**paths(workspace, tmp_path, horizontal_flip=False)), params)
    assert models.load_card(tmp_path / "model").settings["horizontal_flip"] is False


def test_the_card_says_how_the_temperature_was_chosen(trained: Trained) -> None:
    said = str(trained.card.settings["calibration"])
    assert said.startswith(
        f"temperature {trained.card.temperature:.1f}"
        if trained.card.temperature == 1
        else f"temperature {trained.card.temperature:.2f} ("
    )
    assert "cross-validated log loss on val" in said


def test_a_training_that_ends_worse_than_its_search_says_so_and_why_it_may_be(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    store: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = settings(train.Params, {"train.epochs": 1, "train.learning_rate": 1e-6})
    changes = {"val_loss": 0.01, "val_accuracy": 1.0, "image_size": 48}
    train.run(train.Paths(**paths(workspace, tmp_path, **changes)), params)
    lines = capsys.readouterr().out.splitlines()
    worse = [line for line in lines if line.startswith("train     worse than the best trial: ")]
    assert len(worse) == 1
    assert "the trial had 0.010, 1.000. Likely reasons: it did not use the trial's" in worse[0]
    run = run_of(store, models.load_card(tmp_path / "model"))
    assert run.data.tags["worse_than_best_trial"] == worse[0].removeprefix("train     ")
    assert run.data.metrics["best_trial/val_loss"] == 0.01
    assert run.data.metrics["best/val_loss"] > 0.01


def test_a_training_that_stops_early_says_when_and_why(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    store: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes = {"train.epochs": 6, "train.early_stopping": 1, "train.learning_rate": 0.1}
    train.run(train.Paths(**paths(workspace, tmp_path)), settings(train.Params, changes))
    card = models.load_card(tmp_path / "model")
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert len(rows) == max(card.best_epoch, 3) + 1 < 6
    line = (
        f"stopped early after epoch {len(rows)} of 6: val/loss was not lower for 1 epoch "
        f"(train.early_stopping), the best is epoch {card.best_epoch}"
    )
    assert f"train     {line}\n" in capsys.readouterr().out
    assert run_of(store, card).data.tags["stopped_early"] == line


def test_a_training_that_went_well_has_nothing_to_explain(trained: Trained) -> None:
    assert not {"stopped_early", "worse_than_best_trial"} & trained.runs[0].data.tags.keys()


def test_hyperparameters_of_other_data_are_refused(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ChangedInput, match=r"was made from data 0000.*dvc repro tune"):
        train.run(
            train.Paths(**paths(workspace, tmp_path, data_digest="0" * 64)), settings(train.Params)
        )


def test_an_image_that_changed_after_validation_is_refused(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(workspace.inputs["images"], images)
    for image in images.glob("lying/*"):  # whichever split it is in
        image.write_bytes(image.read_bytes() + b"one more byte")
    inputs = {**paths(workspace, tmp_path), "images": images, "cache": tmp_path / "cache"}
    with pytest.raises(ChangedInput, match="bytes have changed since validate"):
        train.run(train.Paths(**inputs), settings(train.Params))


def test_a_training_stopped_by_a_signal_continues_to_the_same_model(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = settings(train.Params, {"train.epochs": 4})  # writes params.yaml
    shutil.copy(ROOT / "dvc.yaml", tmp_path)  # a project is where both are
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train.run(train.Paths(**paths(workspace, whole)), params)

    options = [w for k, v in paths(workspace, broken).items() for w in (f"--{k}", str(v))]
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "step", "train", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (broken / "checkpoint.bin").exists() and time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "Run the same command again" in errors
    assert not (broken / "model").exists()

    train.run(train.Paths(**paths(workspace, broken)), params)
    assert "resumed after" in capsys.readouterr().out
    assert files.digest_folder(broken / "model") == files.digest_folder(whole / "model")


def stop_now(self: progress.Progress, _done: int, _total: int) -> bool:
    self._stop.signal_number = signal.SIGTERM
    return True


@pytest.mark.row("R01")
def test_sigterm_exits_143_after_saving(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.Progress, "after_batch", stop_now)
    assert process.Stop().signal_number == 0
    with pytest.raises(Interrupted, match="batch 1 is saved") as stopped:
        train.run(train.Paths(**paths(workspace, tmp_path)), settings(train.Params))
    assert stopped.value.exit_code == 143
    assert (tmp_path / "checkpoint.bin").exists()


@pytest.mark.row("R06")
def test_a_checkpoint_of_other_code_is_not_resumed(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    params = settings(train.Params, {"train.epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(progress.Progress, "after_batch", stop_now)
        with pytest.raises(Interrupted):
            train.run(train.Paths(**paths(workspace, tmp_path)), params)
    monkeypatch.setattr(files, "digest_sources", lambda code: f"other code in {code}")
    with caplog.at_level(logging.INFO):
        train.run(train.Paths(**paths(workspace, tmp_path)), params)
    assert "belongs to other data, settings or code" in caplog.text


@pytest.mark.parametrize("wanted", [True, False])
def test_kernels_are_those_that_params_ask_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    def choose(*, deterministic: bool) -> None:
        raise InterruptedError(deterministic)

    monkeypatch.setattr(process, "choose_kernels", choose)
    with pytest.raises(InterruptedError, match=str(wanted)):
        train.run(train.Paths(), settings(train.Params, {"training.deterministic": wanted}))
