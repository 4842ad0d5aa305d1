"""The whole pipeline in containers of the project's image, against this machine's entry points.

As on a cluster: any user id, a read-only root, no capabilities, a memory limit; and a network in
which only S3 and MLflow answer.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import pytest

from components import train
from components.core.artifacts import ValidationReport
from components.core.gate.record import DecisionRecord
from components.io.files import digest_folder, read_artifact
from pipeline.kubeflow import sections
from tests.containers.engine import UID, Pod
from tests.containers.kfp_run import EXIT_KILLED, Run, publish
from tests.test_end_to_end import STEPS, Project
from tests.test_kubeflow_run import RUN_LOCAL, make_project

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

PER_CLASS = 60
CHAMPION = """
import mlflow
version = mlflow.MlflowClient().get_model_version_by_alias("solar-cells", "champion")
print(version.version, version.tags["data"])
"""


# Network is unreachable = 101; the last line proves that the same call can succeed.
WAY_OUT = """
import os, socket
print(os.listdir("/sys/class/net"))
for address in (("1.1.1.1", 443), ("169.254.169.254", 80)):
    print(socket.socket().connect_ex(address))
print({0: "open"}[socket.socket().connect_ex(("127.0.0.1", 5000))])
"""


@dataclass(frozen=True)
class Published:
    """A project whose images lie in S3, and the bare repository with its history."""

    project: Project
    repository: Path
    source: dict[str, str]

    def new_run(self, pod: Pod, folder: Path) -> Run:
        return Run(pod, folder, self.repository, self.source)


@pytest.fixture(scope="module")
def published(pod: Pod, tmp_path_factory: pytest.TempPathFactory) -> Published:
    project = make_project(tmp_path_factory.mktemp("project"), PER_CLASS)
    # Without repetitions: kfp itself repeats here, whatever the step said.
    changes = {"workers": 2, "access_mode": "ReadWriteMany", "retries": 0}
    project.set_params({f"cluster.{name}": value for name, value in changes.items()})
    project.environment["OMP_NUM_THREADS"] = "1"  # as in the pod: sums depend on it
    repository = tmp_path_factory.mktemp("origin") / "project.git"
    return Published(project, repository, publish(project, pod, repository))


@pytest.fixture(scope="module")
def done(published: Published, pod: Pod, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with an empty registry."""
    run = published.new_run(pod, tmp_path_factory.mktemp("run"))
    run.execute(published.project)
    return run


@pytest.fixture(scope="module")
def entry_points(published: Published, done: Run) -> dict[str, Path]:
    """The outputs of one slice through all entry points; each had an empty registry."""
    project = published.project
    project.run("dvc", "repro")
    shutil.rmtree(project.root / "cache")
    shutil.rmtree(project.root / "mlartifacts")
    (project.root / "mlflow.db").unlink()
    project.run(*RUN_LOCAL)
    artifacts = project.root / "artifacts"
    return {"dvc": artifacts, "local": artifacts / "run-local", "containers": done.outputs}


def test_every_task_of_the_graph_ran_and_the_champion_is_in_the_registry(
    done: Run, pod: Pod
) -> None:
    assert done.codes == [0] * len(("fetch", *STEPS, "tune-worker"))
    record = read_artifact(done.outputs / "register/decision.json", DecisionRecord)
    assert record.outcome.verdict == "passed"
    version, data_digest = pod.run("python", "-c", CHAMPION).split()[-2:]
    assert (version, data_digest) == (record.version, record.evidence.data_digest)
    status = json.loads(pod.run("python", "-m", "pipeline", "status", "--json").splitlines()[-1])
    assert status["champion"]["version"] == record.version


@pytest.mark.row("P29")
@pytest.mark.parametrize("entry_point", ["local", "containers"])
def test_all_entry_points_end_with_the_same_data_model_metrics_and_decision(
    entry_points: dict[str, Path], entry_point: str
) -> None:
    dvc, other = entry_points["dvc"], entry_points[entry_point]
    reports = [read_artifact(f / "validate/report.json", ValidationReport) for f in (dvc, other)]
    assert reports[0] == reports[1]
    mine, theirs = (pd.read_parquet(f / "validate/manifest.parquet") for f in (dvc, other))
    pd.testing.assert_frame_equal(mine, theirs)
    assert {"train", "val", "test"} <= set(mine["split"])
    metrics = [json.loads((f / "evaluate/metrics.json").read_text()) for f in (dvc, other)]
    assert metrics[1] == pytest.approx(metrics[0], abs=1e-6)
    assert digest_folder(dvc / "train/model") == digest_folder(other / "train/model")
    records = [read_artifact(f / "register/decision.json", DecisionRecord) for f in (dvc, other)]
    assert records[0].outcome == records[1].outcome
    assert records[0].evidence == records[1].evidence


def test_a_refused_data_set_fails_the_run(published: Published, pod: Pod, tmp_path: Path) -> None:
    section = json.loads(sections.to_json(published.project.root)["validate"])
    run = published.new_run(pod, tmp_path)
    with pytest.raises(RuntimeError, match="Inner task failed"):
        run.execute(published.project, validate=json.dumps({**section, "min_images": 1000}))
    assert run.codes == [0, 1]
    assert not (run.outputs / "register").exists()


@pytest.mark.row("R09")
def test_a_container_that_is_killed_for_its_memory_fails_the_run(
    published: Published, pod: Pod, tmp_path: Path
) -> None:
    run = published.new_run(pod, tmp_path)
    with pytest.raises(RuntimeError, match="Inner task failed"):
        run.execute(published.project, memory="24m")
    assert run.codes == [EXIT_KILLED]


def test_other_images_than_the_pinned_ones_fail_the_run(
    published: Published, pod: Pod, tmp_path: Path
) -> None:
    wrong = {**published.source, "data_hash": f"{'0' * 32}.dir"}
    run = Run(pod, tmp_path, published.repository, wrong)
    with pytest.raises(RuntimeError, match="Inner task failed"):
        run.execute(published.project)
    assert run.codes == [1]
    assert not (run.checkout / "data/images").exists()


def test_a_training_that_is_stopped_leaves_a_checkpoint_and_exits_143(
    published: Published, done: Run, pod: Pod, tmp_path: Path
) -> None:
    project = Project(tmp_path)
    project.set_params({"train.epochs": 50})
    shutil.copy(published.project.root / "dvc.yaml", tmp_path)
    os.chown(tmp_path, UID, UID)
    arguments = []
    for option in fields(train.Paths):
        written = option.name in ("cache", "checkpoint", "model", "history", "plot")
        path = f"/mine/{option.name}" if written else f"/workspace/checkout/{option.default}"
        arguments += [f"--{option.name}", path]
    pod.start("train", "python", "-m", "pipeline", "step", "train", *arguments, options=(
        "-v", f"{tmp_path}:/mine", "-w", "/mine", "-v", f"{done.folder}/workspace:/workspace:ro",
    ))  # fmt: skip
    docker, name = pod.image.engine.docker, f"{pod.name}-train"
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoint").exists():
        assert time.monotonic() < deadline, docker("logs", name)
        time.sleep(0.2)
    docker("stop", "--time", "60", name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "143"
    assert "error: " in docker("logs", name)
    assert (tmp_path / "checkpoint").exists()
    assert not (tmp_path / "model").exists()


def test_a_step_reaches_no_address_but_its_own(pod: Pod) -> None:
    output = pod.run("python", "-c", WAY_OUT)
    assert output.splitlines()[-4:] == ["['lo']", "101", "101", "open"]
