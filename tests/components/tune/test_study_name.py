"""What shapes a trial's value names its study, so that no two kinds of trial mix."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from components import tune
from components.io import files
from components.io.data.dataset import DataPaths, Dataset, open_dataset
from tests.components.conftest import ROOT, Settings, Workspace


@pytest.fixture
def dataset(workspace: Workspace, settings: Settings) -> Dataset:
    params = settings(tune.Params)
    size = params.model.image_size
    return open_dataset(DataPaths(**workspace.inputs), params.data, size, ("train", "val"))


@pytest.mark.row("T08", "T09")
@pytest.mark.parametrize(
    "changes",
    [
        {"tune.learning_rate": [1e-4, 1e-2]},
        {"tune.epochs": [1, 3]},
        {"model.image_size": 64},
        {"tune.train_fraction": 0.75},
        {"data.background": [0, 0, 0]},
        {"data.resize_mode": "pad"},
        {"model.architecture": "mobilenet_v3_small"},
        {"training.batch_size": 4},
        {"training.precision": "auto"},
        {"training.seed": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_settings_are_another_study(
    changes: Mapping[str, object], dataset: Dataset, settings: Settings
) -> None:
    name = tune.prepare(dataset, settings(tune.Params)).name
    assert tune.prepare(dataset, settings(tune.Params)).name == name
    assert tune.prepare(dataset, settings(tune.Params, changes)).name != name


@pytest.mark.row("T09")
def test_other_data_are_another_study(dataset: Dataset, settings: Settings) -> None:
    params = settings(tune.Params)
    other = replace(dataset, digest="0" * 64)
    assert tune.prepare(other, params).name != tune.prepare(dataset, params).name


@pytest.mark.row("T08", "T09")
@pytest.mark.parametrize("file", ["tune/search.py", "core/training/loop.py", "io/data/scan.py"])
def test_other_code_is_another_study_so_also_another_direction(
    file: str,
    dataset: Dataset,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = settings(tune.Params)
    name = tune.prepare(dataset, params).name
    code = shutil.copytree(ROOT / "components", tmp_path / "components")
    monkeypatch.setattr(files, "__file__", str(code / "io/files.py"))
    assert tune.prepare(dataset, params).name == name
    (code / file).write_text((code / file).read_text() + "# another line\n")
    assert tune.prepare(dataset, params).name != name


@pytest.mark.row("T08")
def test_a_larger_budget_is_the_same_study(dataset: Dataset, settings: Settings) -> None:
    more = {"tune.num_trials": 3, "tune.timeout_seconds": 99}
    name = tune.prepare(dataset, settings(tune.Params)).name
    assert tune.prepare(dataset, settings(tune.Params, more)).name == name
