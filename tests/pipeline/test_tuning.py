"""Several workers through the command line, on real pictures and a real MLflow store."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.tune.storage import VARIABLE
from pipeline import __main__ as pipeline
from pipeline import tuning
from pipeline.kubeflow import dvc_stages as stages
from tests.components.conftest import ROOT, Workspace, write_params
from tests.processes import free_port


@pytest.fixture
def project(workspace: Workspace, tmp_path: Path) -> Path:
    """A folder as a checkout is after validate."""
    shutil.copytree(workspace.root, tmp_path / "project")
    shutil.copy(ROOT / "dvc.yaml", tmp_path / "project")
    write_params(tmp_path / "project/params.yaml", {"tune.trials": 4})
    return tmp_path / "project"


def start(project: Path, *words: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "tune", *words],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def table(project: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((project / "artifacts/tune/trials.csv").open()))


def wait_for(project: Path, text: str, process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(seen)


def test_two_workers_share_the_budget_and_one_result_is_collected(project: Path) -> None:
    process = start(project, "--workers", "2")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    rows = table(project)
    assert len(rows) == 4
    assert {row["worker"] for row in rows} == {"0", "1"}, output
    assert (project / "artifacts/tune/hyperparameters.json").is_file()
    assert "next: dvc repro" in output
    assert output.count("best of 4") == 1


def test_a_signal_reaches_every_worker_and_the_search_goes_on_later(project: Path) -> None:
    write_params(project / "params.yaml", {"tune.trials": 2, "tune.epochs": [40, 50]})
    process = start(project, "--workers", "2")
    wait_for(project, "trial 1", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "stopped by a signal" in output
    assert "Traceback" not in output
    journal = (project / "artifacts/tune/study.journal").read_text()
    assert journal.count("its worker was stopped") == 2
    left = subprocess.run(["pgrep", "-f", str(project)], capture_output=True, check=False)
    assert left.stdout == b""


def test_the_exit_code_is_that_of_the_step(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"postgresql://anna:word@127.0.0.1:{free_port()}/tune")
    process = start(project, "--workers", "1")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 5, output
    assert output.count("error: ") == 2
    assert "word" not in output


@pytest.mark.slow
def test_a_helper_that_fails_is_made_up_for(project: Path) -> None:
    process = start(project, "--workers", "2")
    deadline = time.monotonic() + 60
    while not (helpers := find(process.pid, "--worker")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(helpers[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "worker 1 ended with -9; the others took over" in output
    assert len(table(project)) == 4


def find(parent: int, word: str) -> list[int]:
    """Children of a process with this word on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent and word.encode() in line.split(b"\0"):
            found.append(int(folder.name))
    return found


def test_wrong_numbers_of_workers_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--workers", "0"], ["--worker", "-1"], [], ["--workers", "2", "--worker", "1"]):
        with pytest.raises(SystemExit) as raised:
            pipeline.main(["tune", *words])
        assert raised.value.code == 2


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("0,1", ["0", "1", "0"]),
        ("GPU-a", ["GPU-a"] * 3),
        ("", [None] * 3),
    ],
)
def test_each_worker_gets_a_gpu_in_turn(visible: str, seen: list[str | None]) -> None:
    shares = tuning.share_machine(3, {"CUDA_VISIBLE_DEVICES": visible})
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in shares] == seen


def test_workers_share_the_cores_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [s["OMP_NUM_THREADS"] for s in tuning.share_machine(3, {})] == ["2"] * 3
    assert [s["OMP_NUM_THREADS"] for s in tuning.share_machine(16, {})] == ["1"] * 16
    told = tuning.share_machine(2, {"OMP_NUM_THREADS": "7"})
    assert [s["OMP_NUM_THREADS"] for s in told] == ["7"] * 2


def test_a_worker_is_given_the_paths_that_dvc_gives_the_step() -> None:
    paths = stages.read_paths(ROOT)["tune"]
    words = stages.write_arguments(paths)
    assert words[words.index("--study") + 1] == "artifacts/tune/study.journal"
    assert len(words) == 2 * len(paths)
