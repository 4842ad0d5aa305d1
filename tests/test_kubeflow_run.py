"""Kubeflow's graph run for real, each task in a process of its own, against `dvc repro`."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from components.core.artifacts import ValidationReport
from components.core.gate.record import DecisionRecord
from components.io.files import digest_folder, read_artifact
from tests.test_end_to_end import STEPS, Project, copy_project, copy_slice

RUN_LOCAL = (sys.executable, "-m", "pipeline", "run-local")


def make_project(root: Path, per_class: int) -> Project:
    project = Project(root)
    copy_project(project.root)
    copy_slice(project.root / "data/images", per_class)
    # after one epoch it may know one class only, which no gate lets pass
    project.set_params({"train.epochs": 6})
    return project


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One slice of the sample through both entry points, each with an empty MLflow store."""
    project = make_project(tmp_path_factory.mktemp("project"), 60)
    project.run("git", "init", "-q")
    project.run("dvc", "add", "-q", "data/images")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "data and code")
    project.run("dvc", "repro")
    shutil.rmtree(project.root / "cache")
    shutil.rmtree(project.root / "mlartifacts")
    (project.root / "mlflow.db").unlink()
    out = project.run(*RUN_LOCAL)
    ours = ("validate ", "tune ", "trial ", "train ", "evaluate ", "register ", "mlflow ", "run-l")
    assert all(line.startswith(ours) for line in out.splitlines())
    assert "register  registered: " in out
    assert not (project.root / "mlflow.db").exists(), "it has a store of its own"
    return project


@pytest.mark.row("P29")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_entry_points_end_with_the_same_data_split_model_metrics_and_decision(
    both: Project,
) -> None:
    dvc, kubeflow = both.root / "artifacts", both.root / "artifacts/run-local"
    reports = [read_artifact(f / "validate/report.json", ValidationReport) for f in (dvc, kubeflow)]
    assert reports[0] == reports[1]
    one, other = (pd.read_parquet(f / "validate/manifest.parquet") for f in (dvc, kubeflow))
    pd.testing.assert_frame_equal(one, other)
    metrics = [json.loads((f / "evaluate/metrics.json").read_text()) for f in (dvc, kubeflow)]
    assert metrics[1] == pytest.approx(metrics[0], abs=1e-6)
    assert digest_folder(dvc / "train/model") == digest_folder(kubeflow / "train/model")
    records = [read_artifact(f / "register/decision.json", DecisionRecord) for f in (dvc, kubeflow)]
    assert records[0].outcome == records[1].outcome
    failed = [check for check in records[0].outcome.checks if check.status == "fail"]
    assert (records[0].outcome.verdict, failed) == ("passed", [])
    assert records[1].version == "1"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_task_leaves_its_numbers_its_text_and_its_page(both: Project) -> None:
    runs = list((both.root / "artifacts/run-local/kfp").iterdir())
    assert len(runs) == 1
    for step in STEPS:
        folder = runs[0] / step
        assert (folder / "summary").read_text().startswith(f"# {step}\n")
        assert "<html" in (folder / "page").read_text()
        shown = json.loads((folder / "executor_output.json").read_text())["artifacts"]
        assert shown["metrics"]["artifacts"][0]["metadata"]
    curves = shown_curves(runs[0] / "evaluate")
    names = [entry["displayName"] for entry in curves["confusionMatrix"]["annotationSpecs"]]
    assert names == ["defective", "functional"]
    assert 2 <= len(curves["confidenceMetrics"]) <= 100


def shown_curves(folder: Path) -> dict[str, dict[str, list[dict[str, str]]]]:
    shown = json.loads((folder / "executor_output.json").read_text())["artifacts"]
    found: dict[str, dict[str, list[dict[str, str]]]] = shown["curves"]["artifacts"][0]["metadata"]
    return found


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("raise RuntimeError('planted')", "RuntimeError: planted"),
        ("pass", "report.json: does not exist"),
    ],
)
def test_a_step_that_fails_or_does_nothing_fails_the_run(
    planted: str, found: str, tmp_path: Path
) -> None:
    project = make_project(tmp_path, 1)
    step = project.root / "components/validate/__init__.py"
    source = f"def run(_paths: object, _params: object) -> None:\n    {planted}\n"
    step.write_text(f"{step.read_text()}\n\n{source}")
    old = project.root / "artifacts/run-local/register/decision.json"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier run")
    output = project.run(*RUN_LOCAL, code=1)
    assert found in output
    assert (
        "error: run-local: Pipeline 'image-classification' finished with status FAILURE" in output
    )
    assert "'validate'" in output
    assert "Executing task 'tune'" not in output
    assert not old.exists()
