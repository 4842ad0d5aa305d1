"""Several architectures on the same data and budget."""

import csv
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components import train
from components.core.artifacts import ValidationReport
from components.io import files, models
from pipeline import compare
from pipeline.cli import main
from tests.components.conftest import Workspace, write_params
from tests.components.train.places import tuned

NAMES = ["resnet18", "mobilenet_v3_small"]


@pytest.fixture(scope="module")
def project(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compare") / "project"
    shutil.copytree(workspace.root, root)
    (root / "dvc.yaml").write_text("stages: {}\n")
    write_params(root / "params.yaml", {"train.epochs": 1, "model.weights": "random"})
    return root


@pytest.fixture(autouse=True)
def inside(
    project: Path, workspace: Workspace, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    tuned(workspace, train.Paths().hyperparameters.parent, epochs=1)


def test_all_are_trained_once_measured_on_val_and_nested_in_one_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["compare", *NAMES]) == 0
    out = capsys.readouterr().out
    assert out.count("compare   ") == 2
    assert "most accurate: " in out
    assert "where size counts: mobilenet_v3_small, " in out or "less accurate" in out
    rows = list(csv.DictReader((compare.FOLDER / "comparison.csv").open()))
    assert {row["architecture"] for row in rows} == set(NAMES)
    report = files.read_artifact(train.Paths().report, ValidationReport)
    val = sum(counts["val"] for counts in report.counts.values())
    assert f" on {val} images of val" in out
    for row in rows:
        assert float(row["low"]) <= float(row["accuracy"]) <= float(row["high"])
        assert float(row["train_minutes"]) > 0
        folder = compare.FOLDER / row["architecture"] / "model"
        assert models.load_card(folder).architecture == row["architecture"]
    assert (compare.FOLDER / "comparison.png").read_bytes().startswith(b"\x89PNG")
    client = MlflowClient()
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = (run for run in runs if run.data.tags["pipeline.kind"] == "compare")
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(nested) == 2
    assert not any("test" in run.data.tags for run in runs)  # the test split stays closed

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(train, "run", refuse)
    assert main(["compare", *NAMES]) == 0
    again = capsys.readouterr().out
    assert [line for line in again.splitlines() if line.startswith("most accurate")] == [
        line for line in out.splitlines() if line.startswith("most accurate")
    ]


def test_the_project_s_own_training_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    own = train.Paths()
    shutil.copytree(compare.FOLDER / "resnet18/model", own.model)
    shutil.copy(compare.FOLDER / "resnet18/history.csv", own.history)
    (compare.FOLDER / "resnet18/history.csv").unlink()

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(train, "run", refuse)
    assert main(["compare", "resnet18"]) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "resnet19 is unknown; known are resnet18, "),
        ("vit_b_16", "takes images of exactly 224 px"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(
    name: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "run", lambda *_: pytest.fail("trained"))
    assert main(["compare", "resnet34", name]) == 1
    assert message in capsys.readouterr().err
