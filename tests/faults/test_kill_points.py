"""Killed at every point that has a name, and run again: as if nothing had been."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from components import train, tune
from components.core.artifacts import Hyperparameters, ValidationReport
from components.io import files
from components.io.params import load as load_params
from components.registry import champion
from components.tracking.store import Store
from tests import processes, registry
from tests.components.conftest import Settings, Workspace, write_params
from tests.faults import kill

SMALL = {"model.architecture": "mobilenet_v3_small"}


def write_file(folder: Path) -> None:
    files.write_text(folder / "file.txt", "new")


def write_folder(folder: Path) -> None:
    with files.replacing_folder(folder / "folder") as fresh:
        files.write_text(fresh / "file.txt", "new")


def killed_and_again(name: str, count: int, action: Callable[..., None], *words: object) -> None:
    """Run the action, killed at that point; then run it to its end."""
    process = processes.start(kill.armed, name, count, action, *words)
    process.join()
    assert process.exitcode == -9, f"never came to {name!r} for the {count}. time"
    process = processes.start(action, *words)
    process.join()
    assert process.exitcode == 0


FILES = ["file written"]
FOLDERS = ["old folder moved"]


@pytest.mark.row("R04")
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_old_or_the_new_one(name: str, tmp_path: Path) -> None:
    files.write_text(tmp_path / "file.txt", "old")
    process = processes.start(kill.armed, name, 1, write_file, tmp_path)
    process.join()
    assert (tmp_path / "file.txt").read_text() == "old"
    killed_and_again(name, 1, write_file, tmp_path)
    assert (tmp_path / "file.txt").read_text() == "new"
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_written_again_by_the_next_run(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    killed_and_again(name, 1, write_folder, tmp_path)
    assert (tmp_path / "folder/file.txt").read_text() == "new"


def histories(uri: str) -> dict[str, list[tuple[str, int]]]:
    """Run -> its points as (metric, step), sorted; runs that ended well alone."""
    client, found = MlflowClient(uri), {}
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in client.search_runs(ids):
        assert run.info.status == "FINISHED"
        found[run.info.run_name] = sorted(
            (key, point.step)
            for key in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, key)
        )
    return found


def paths_of_train(workspace: Workspace, folder: Path) -> train.Paths:
    digest = files.read_artifact(workspace.inputs["report"], ValidationReport).data_digest
    files.write_artifact(
        folder / "hyperparameters.json",
        Hyperparameters.model_validate(
            {
                "learning_rate": 3e-3, "epochs": 3, "horizontal_flip": True, "val_loss": 5.0,
                "val_accuracy": 0.5, "image_size": 32, "num_train_images": 17, "study": "tune-test",
                "trials_complete": 1, "trials_pruned": 0, "trials_failed": 0, "data_digest": digest,
            }
        ),
    )  # fmt: skip
    return train.Paths(
        **workspace.inputs,
        hyperparameters=folder / "hyperparameters.json",
        checkpoint=folder / "checkpoint.bin",
        model=folder / "model",
        history=folder / "history.csv",
        plot=folder / "history.png",
    )


@pytest.fixture(scope="module")
def unbroken(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the weights that a training gives which nothing interrupts."""
    folder = tmp_path_factory.mktemp("unbroken")
    params = load_params(write_params(folder / "params.yaml", SMALL), train.Params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        processes.start(train.run, paths_of_train(workspace, folder), params).join()
    return files.digest_file(folder / "model/weights.safetensors")


TRAINING = [("epoch saved", 2), ("old checkpoint moved", 1), ("file written", 6)]


@pytest.mark.row("R02", "R04", "N09")
@pytest.mark.parametrize(("name", "count"), TRAINING)
def test_a_training_ends_with_the_same_bytes_and_whole_curves(
    name: str,
    count: int,
    workspace: Workspace,
    tmp_path: Path,
    store: str,
    settings: Settings,
    unbroken: str,
) -> None:
    paths = paths_of_train(workspace, tmp_path)
    killed_and_again(name, count, train.run, paths, settings(train.Params, SMALL))
    assert files.digest_file(tmp_path / "model/weights.safetensors") == unbroken
    (points,) = histories(store).values()
    curves = [point for point in points if point[0].startswith(("train/", "val/"))]
    assert len(curves) == 3 * 5
    assert len(set(points)) == len(points)


@pytest.fixture
def searched(
    workspace: Workspace, tmp_path: Path, store: str, settings: Settings
) -> tuple[tune.Paths, Any]:
    return (
        tune.Paths(
            **workspace.inputs,
            study=tmp_path / "study.journal",
            hyperparameters=tmp_path / "hyperparameters.json",
            trials=tmp_path / "trials.csv",
            plots=tmp_path / "plots",
        ),
        settings(tune.Params, SMALL),
    )


SEARCH = ["trial claimed", "trial trained", "trial told"]


@pytest.mark.row("T01", "T02")
@pytest.mark.parametrize("name", SEARCH)
def test_a_search_misses_no_trial_and_no_curve(
    name: str, searched: tuple[tune.Paths, Any], store: str
) -> None:
    paths, params = searched
    killed_and_again(name, 2, tune.run, paths, params)
    found = files.read_artifact(paths.hyperparameters, Hyperparameters)
    assert found.trials_complete == 2
    trials = {name: points for name, points in histories(store).items() if "trial" in name}
    assert len(trials) == 2
    assert all(points and len(points) == len(set(points)) for points in trials.values())


REGISTRY = [
    ("package uploaded", 1),
    ("version created", 1),
    ("verdict logged", 1),
    ("promotion started", 1),
    ("alias moved", 1),
    ("alias moved", 2),
]


@pytest.mark.row("P04", "N04")
@pytest.mark.parametrize(("name", "count"), REGISTRY)
def test_a_registration_makes_one_version_and_one_champion(
    name: str, count: int, opened: Store, small_model: Path, tmp_path: Path
) -> None:
    decision = tmp_path / "decision.json"
    registry.write_decision(decision, files.digest_folder(small_model))
    words = (str(small_model), str(decision))
    killed_and_again(name, count, processes.register, *words)
    (promotion,) = registry.require_consistent(opened)
    assert champion.aliases(opened, registry.NAME)["champion"] == promotion.version
    actions = [action for action, _ in registry.events(opened)]
    assert actions == ["evaluated", "promotion_started", "promotion_completed"]


def test_every_point_is_killed_at() -> None:
    """Each of these fails where its process does not come to the point."""
    killed = {*FILES, *FOLDERS, *SEARCH, *(name for name, _ in [*TRAINING, *REGISTRY])}
    assert killed == {*kill.names()}


def test_a_point_without_a_test_would_be_seen(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "components").mkdir()
    (tmp_path / "components/new.py").write_text('import sys\nsys.audit("pipeline", "anew")\n')
    monkeypatch.setattr(kill, "ROOT", tmp_path)
    assert kill.names() == ["anew"]
