"""The tune step: a real study on small images, with a real MLflow store."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from components import tune
from components.core.artifacts import Hyperparameters
from components.core.errors import Diverged, Interrupted, InvalidParams, PipelineError
from components.io import files, process
from components.io.progress import Progress
from components.tune import outputs
from components.tune.trial import StudyContext, TrialRun
from components.tune.trial_queue import WORKER_LOST, TrialQueue
from tests.components.conftest import Settings, Workspace
from tests.hungry import let_memory_fail

pytestmark = pytest.mark.usefixtures("store")


def paths(workspace: Workspace, folder: Path) -> dict[str, Path]:
    return {
        **workspace.inputs,
        "study": folder / "study.journal",
        "hyperparameters": folder / "hyperparameters.json",
        "trials": folder / "trials.csv",
        "plots": folder / "plots",
    }


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").open()))


def best(folder: Path) -> Hyperparameters:
    return files.read_artifact(folder / "hyperparameters.json", Hyperparameters)


def test_tune_tries_the_presets_default_first_and_writes_the_best_trial(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(tune.Params, {"tune.num_trials": 3})
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    rows = table(tmp_path)
    assert len(rows) == 3
    assert float(rows[0]["learning_rate"]) == 1e-3
    complete = [row for row in rows if row["state"] == "complete"]
    lowest = min(complete, key=lambda row: float(row["val_loss"]))
    assert best(tmp_path).learning_rate == float(lowest["learning_rate"])
    assert best(tmp_path).epochs == int(lowest["epochs"])
    assert best(tmp_path).preset_val_loss == pytest.approx(float(rows[0]["val_loss"]), abs=1e-6)
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == [
        "curves.csv",
        "history.png",
        "importance.csv",
        "importance.png",
        "intermediate.png",
    ]
    with (tmp_path / "plots/curves.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    ends = {p["trial"]: (float(p["percent"]), float(p["val_loss"])) for p in points}
    assert {ends[row["trial"]][0] for row in complete} == {100}
    for row in complete:
        assert ends[row["trial"]][1] == pytest.approx(float(row["val_loss"]), abs=1e-6)
    assert (tmp_path / "plots/importance.csv").read_text() == "setting,share\n"


@pytest.mark.parametrize(
    ("preset_val_loss", "words"),
    [
        (None, "val/loss 0.500 (2 complete"),
        (0.5, "val/loss 0.500, the preset's own settings (2 complete"),
        (0.6, "val/loss 0.500, with the preset's settings 0.600 (2 complete"),
    ],
)
def test_what_the_search_gained_over_the_preset_is_said(
    preset_val_loss: float | None, words: str
) -> None:
    found = Hyperparameters(
        learning_rate=2e-3,
        epochs=4,
        horizontal_flip=True,
        val_loss=0.5,
        val_accuracy=0.8,
        preset_val_loss=preset_val_loss,
        image_size=32,
        num_train_images=100,
        study="s",
        trials_complete=2,
        trials_pruned=1,
        trials_failed=0,
        data_digest="d",
    )
    assert words in outputs.summarize(found)


def test_a_space_of_one_setting_runs_one_trial_and_says_so(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = {"tune.learning_rate": [1e-3, 1e-3], "tune.epochs": [1, 1], "tune.num_trials": 5}
    tune.run(tune.Paths(**paths(workspace, tmp_path)), settings(tune.Params, one))
    assert [row["state"] for row in table(tmp_path)] == ["complete"]
    out = capsys.readouterr().out
    assert "tune      the search space has 1 setting, fewer than tune.num_trials 5: each is" in out
    assert ": 1 trial in 60 s on " in out


def test_the_first_two_trials_differ_in_the_flip_alone_and_the_better_one_is_written(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    one = {"tune.learning_rate": [1e-3, 1e-3], "tune.epochs": [1, 1], "tune.num_trials": 5}
    params = settings(tune.Params, {**one, "training.horizontal_flip": "auto"})
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    first, second = table(tmp_path)
    assert (first["horizontal_flip"], second["horizontal_flip"]) == ("false", "true")
    assert (first["learning_rate"], first["epochs"]) == (second["learning_rate"], second["epochs"])
    assert first["val_loss"] != second["val_loss"]
    better = min(first, second, key=lambda row: float(row["val_loss"] or "inf"))
    assert str(best(tmp_path).horizontal_flip).lower() == better["horizontal_flip"]


def test_what_the_best_trial_was_like_is_written_for_train(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    changes = {"tune.num_trials": 1, "model.image_size": 48}
    tune.run(tune.Paths(**paths(workspace, tmp_path)), settings(tune.Params, changes))
    found = best(tmp_path)
    assert found.image_size == 32
    assert found.num_train_images == 16  # half of each class's 16
    assert 0 <= found.val_accuracy <= 1


def test_each_trial_is_a_run_nested_under_one_parent(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(tune.Params, {"tune.num_trials": 2, "training.seed": 11})
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    key = best(tmp_path).study
    parents = client.search_runs(experiments, f"tags.`pipeline.key` = '{key}'")
    assert len(parents) == 1
    children = client.search_runs(
        experiments, f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'"
    )
    assert len(children) == 2
    assert all("learning_rate" in child.data.params for child in children)
    assert all(child.info.status == "FINISHED" for child in [*children, *parents])


@pytest.mark.row("T11")
def test_the_test_split_is_never_opened(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    inputs = paths(workspace, tmp_path)
    images = tmp_path / "images"
    shutil.copytree(inputs["images"], images)
    rows = pd.read_parquet(inputs["manifest"])
    tests = rows.loc[rows["split"] == "test", "path"]
    assert len(tests) >= 2
    for name in tests:
        (images / name).write_bytes(b"never read")
    fresh = {**inputs, "images": images, "cache": tmp_path / "cache"}
    tune.run(tune.Paths(**fresh), settings(tune.Params, {"tune.num_trials": 1}))
    assert best(tmp_path).trials_complete == 1


@pytest.mark.row("T03")
def test_a_stopped_search_continues_with_its_trials_and_never_repeats_one(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = settings(tune.Params, {"tune.num_trials": 4})
    after_batch = Progress.after_batch

    def stop_in_second_trial(self: Progress, done: int, total: int) -> bool:
        if self._title == "trial 1":
            self._stop.signal_number = 2
        return after_batch(self, done, total)

    monkeypatch.setattr(Progress, "after_batch", stop_in_second_trial)
    with pytest.raises(Interrupted, match="1 finished") as stopped:
        tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    monkeypatch.setattr(Progress, "after_batch", after_batch)
    assert stopped.value.exit_code == 130
    assert not (tmp_path / "hyperparameters.json").exists()
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    rows = table(tmp_path)
    ended = [row for row in rows if row["state"] in ("complete", "pruned")]
    assert len(ended) == 4
    assert len({row["learning_rate"] for row in ended}) == 4
    interrupted = next(row for row in rows if row["state"] == "fail")
    assert interrupted["learning_rate"] in {row["learning_rate"] for row in ended}


def test_a_finished_search_runs_no_further_trial(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    params = settings(tune.Params, {"tune.num_trials": 2})
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    before = (tmp_path / "hyperparameters.json").read_bytes()
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    assert len(table(tmp_path)) == 2
    assert (tmp_path / "hyperparameters.json").read_bytes() == before


def test_the_budget_in_seconds_ends_the_search_but_not_before_one_trial(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrialQueue, "used_seconds", lambda _: 2.0)
    params = settings(tune.Params, {"tune.num_trials": 5, "tune.timeout_seconds": 1})
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    assert [row["state"] for row in table(tmp_path)] == ["complete"]


@pytest.mark.row("T06", "T10")
def test_a_search_without_a_complete_trial_is_an_error_and_writes_nothing(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise Diverged("training: the train loss is nan in epoch 1")

    monkeypatch.setattr(TrialRun, "train", diverge)
    params = settings(tune.Params, {"tune.num_trials": 2})
    with pytest.raises(PipelineError, match=r"none of 2 trials in \S+ is complete.*nan"):
        tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    assert not (tmp_path / "hyperparameters.json").exists()


@pytest.mark.row("T07")
def test_a_trial_that_does_not_fit_into_memory_uses_its_slot_up_and_the_others_go_on(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_memory_fail(monkeypatch, most=0, first=1)
    tune.run(
        tune.Paths(**paths(workspace, tmp_path)), settings(tune.Params, {"tune.num_trials": 2})
    )
    assert [row["state"] for row in table(tmp_path)] == ["fail", "complete"]
    assert table(tmp_path)[0]["reason"].startswith("training: out of memory at 32 px (")
    assert best(tmp_path).trials_failed == 1


def test_a_trial_that_fits_in_micro_batches_completes_and_says_so(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    let_memory_fail(monkeypatch, most=4)
    params = settings(tune.Params, {"tune.num_trials": 1, "training.seed": 33})
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    assert [row["state"] for row in table(tmp_path)] == ["complete"]
    assert "trial 0   out of memory with" in capsys.readouterr().out
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    (child,) = client.search_runs(
        experiments, f"tags.`pipeline.key` = '{best(tmp_path).study}/trial 0'"
    )
    assert "4 from here on" in child.data.tags["out_of_memory"]


def test_a_trial_that_was_requeued_while_it_ran_is_dropped_and_run_again(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = TrialRun.train

    def requeue_the_first(
        self: TrialRun, context: StudyContext, out_of_time: Callable[[], bool]
    ) -> str:
        if self._trial.number == 0:
            self._trial.study.tell(0, state=TrialState.FAIL)  # as another worker does
        return train(self, context, out_of_time)

    monkeypatch.setattr(TrialRun, "train", requeue_the_first)
    tune.run(
        tune.Paths(**paths(workspace, tmp_path)), settings(tune.Params, {"tune.num_trials": 2})
    )
    assert "trial 0   was requeued meanwhile; its result is dropped" in capsys.readouterr().out
    rows = table(tmp_path)
    assert [row["reason"] for row in rows if row["state"] == "fail"] == [WORKER_LOST]
    assert len([row for row in rows if row["state"] in ("complete", "pruned")]) == 2


def test_a_further_worker_runs_trials_of_the_study_and_writes_nothing_else(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "_OWNER_SECONDS", 0.0)
    params = settings(tune.Params, {"tune.num_trials": 2, "training.seed": 21})
    study = tmp_path / "study.journal"
    tune.run_worker(tune.Paths(**paths(workspace, tmp_path)), 1, params)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".yaml"] == [study]
    tune.run(tune.Paths(**paths(workspace, tmp_path)), params)
    assert [row["worker"] for row in table(tmp_path)] == ["1", "1"]
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    key = best(tmp_path).study
    parents = client.search_runs(experiments, f"tags.`pipeline.key` = '{key}'")
    assert [parent.info.status for parent in parents] == ["FINISHED"]
    nested = f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'"
    assert len(client.search_runs(experiments, nested)) == 2


def test_trials_are_compared_at_equal_shares_of_their_own_schedule() -> None:
    class Trial:
        number = 0
        steps: list[int]

        def report(self, _value: float, step: int) -> None:
            self.steps.append(step)

        def should_prune(self) -> bool:
            return False

    def steps(epochs: int) -> list[int]:
        trial = Trial()
        trial.steps = []
        trial_run = TrialRun.__new__(TrialRun)
        trial_run._trial = trial  # type: ignore[assignment]
        trial_run._config = type("TrainingConfig", (), {"epochs": epochs})()
        trial_run._curve = [{"val/loss": 1.0}]
        for epoch in range(1, epochs + 1):
            trial_run._prunable(epoch)
        return trial.steps

    assert steps(8) == [1, 2, 3, 4]
    assert steps(4) == [1, 2, 3, 4]
    assert steps(2) == [2, 4]
    assert steps(1) == [4]
    assert steps(3) == [1, 2, 4]


@pytest.mark.row("C04")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tune.image_size": 64}, "tune.image_size is 64"),
        ({"model.architecture": "vit_b_16"}, "exactly 224 px"),
    ],
)
def test_impossible_sizes_are_refused_before_the_first_trial(
    changes: dict[str, object],
    message: str,
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidParams, match=message):
        tune.run(tune.Paths(**paths(workspace, tmp_path)), settings(tune.Params, changes))
    assert not (tmp_path / "study.journal").exists()


@pytest.mark.parametrize("wanted", [True, False])
def test_kernels_are_those_that_params_ask_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    def choose(*, deterministic: bool) -> None:
        raise InterruptedError(deterministic)

    monkeypatch.setattr(process, "choose_kernels", choose)
    with pytest.raises(InterruptedError, match=str(wanted)):
        tune.run(tune.Paths(), settings(tune.Params, {"training.deterministic": wanted}))
