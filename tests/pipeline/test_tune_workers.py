"""Several workers through the command line, on real images and a real MLflow store."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from components import tune
from components.core.errors import Interrupted, PipelineError
from components.tune.trial_queue import RELEASED
from pipeline import cli, tune_workers
from pipeline.tune_workers import share_machine
from tests.components.conftest import ROOT, Workspace, write_params
from tests.components.conftest import store as store


@pytest.fixture
def project(workspace: Workspace, tmp_path: Path) -> Path:
    """A folder as a checkout is after validate."""
    shutil.copytree(workspace.root, tmp_path / "project")
    shutil.copy(ROOT / "dvc.yaml", tmp_path / "project")
    write_params(tmp_path / "project/params.yaml", {"tune.num_trials": 4, "tune.epochs": [1, 1]})
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


def test_two_workers_share_the_budget_and_one_result_is_collected(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    code = cli.main(["tune", "--workers", "2"])
    found = capfd.readouterr()
    output = found.out + found.err
    assert code == 0, output
    rows = table(project)
    assert len(rows) == 4
    assert {row["worker"] for row in rows} == {"0", "1"}, output
    assert (project / "artifacts/tune/hyperparameters.json").is_file()
    assert "next: dvc repro" in output
    assert output.count("best of 4") == 1


# In place of `python -m pipeline`: a worker that ends with the code that the test chose for it, or
# waits, with the signal of the first stop as its code; the last to wait sends it to the parent.
WORKER = """
import os, pathlib, signal, sys, time

worker = 0 if sys.argv[1:] == ["step", "tune"] else int(sys.argv[sys.argv.index("--worker") + 1])
code = os.environ["CODES"].split()[worker]
if code != "wait":
    code = int(code)
    os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)


def stop(number, _):
    pathlib.Path(f"stopped-{worker}").write_text(str(number))
    sys.exit(128 + number)


signal.signal(signal.SIGTERM, stop)
pathlib.Path(f"ready-{worker}").touch()
if len(list(pathlib.Path().glob("ready-*"))) == len(os.environ["CODES"].split()):
    os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""


@pytest.fixture
def toy_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> Callable[..., None]:
    """toy_workers("5", "0"): as many workers as processes, which end with these codes."""
    (tmp_path / "toy/pipeline").mkdir(parents=True)
    (tmp_path / "toy/pipeline/__init__.py").touch()
    (tmp_path / "toy/pipeline/__main__.py").write_text(WORKER)
    monkeypatch.chdir(tmp_path / "toy")

    def start(*codes: str) -> None:
        monkeypatch.setenv("CODES", " ".join(codes))
        tune_workers.run_workers(len(codes))

    return start


@pytest.mark.parametrize(("code", "shown"), [("5", 5), ("2", 2), ("-9", 1)])
def test_the_exit_code_is_that_of_the_step(
    code: str, shown: int, toy_workers: Callable[..., None]
) -> None:
    with pytest.raises(PipelineError, match=f"worker 0, the step itself, ended with {code}") as end:
        toy_workers(code, "0")
    assert end.value.exit_code == shown


def test_a_worker_that_fails_is_named_and_costs_nothing(
    toy_workers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    toy_workers("0", "-9", "0")
    printed = capsys.readouterr().out
    assert "worker 1 ended with -9; the others ran its trials" in printed
    assert "worker 2" not in printed
    assert "next: dvc repro" in printed


def test_a_signal_reaches_every_worker(toy_workers: Callable[..., None]) -> None:
    with pytest.raises(Interrupted, match="stopped by a signal") as end:
        toy_workers("wait", "wait")
    assert end.value.exit_code == 143
    stopped = {path.name: path.read_text() for path in Path().glob("stopped-*")}
    assert stopped == dict.fromkeys(("stopped-0", "stopped-1"), str(int(signal.SIGTERM)))


@pytest.mark.slow
def test_a_signal_reaches_every_worker_and_the_search_goes_on_later(project: Path) -> None:
    write_params(project / "params.yaml", {"tune.num_trials": 2, "tune.epochs": [40, 50]})
    process = start(project, "--workers", "2")
    wait_for(project, "trial 1", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "stopped by a signal" in output
    assert "Traceback" not in output
    journal = (project / "artifacts/tune/study.journal").read_text()
    assert journal.count(f'"{RELEASED}"') == 2
    left = subprocess.run(["pgrep", "-f", str(project)], capture_output=True, check=False)
    assert left.stdout == b""


@pytest.mark.slow
def test_the_trials_of_a_worker_that_fails_are_run_by_the_others(project: Path) -> None:
    process = start(project, "--workers", "2")
    deadline = time.monotonic() + 60
    while not (workers := find(process.pid, "--worker")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(workers[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "worker 1 ended with -9; the others ran its trials" in output
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


@pytest.mark.parametrize(
    "words",
    [["--workers", "0"], ["--worker", "-1"], [], ["--workers", "2", "--worker", "1"]],
)
def test_wrong_numbers_of_workers_are_wrong_usage(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path / "params.yaml", {})
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["tune", *words]) == 2


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("0,1", ["0", "1", "0"]),
        ("GPU-a", ["GPU-a"] * 3),
        ("", [None] * 3),
    ],
)
def test_each_worker_gets_a_gpu_in_turn(visible: str, seen: list[str | None]) -> None:
    shares = share_machine(3, {"CUDA_VISIBLE_DEVICES": visible})
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in shares] == seen


def test_workers_share_the_cores_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.tune_workers.usable_cpus", lambda: 8)
    assert [s["OMP_NUM_THREADS"] for s in share_machine(3, {})] == ["2"] * 3
    assert [s["OMP_NUM_THREADS"] for s in share_machine(16, {})] == ["1"] * 16
    threads = share_machine(2, {"OMP_NUM_THREADS": "7"})
    assert [s["OMP_NUM_THREADS"] for s in threads] == ["7"] * 2


def test_a_worker_has_the_paths_of_the_step_that_dvc_runs() -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["tune"]
    assert stage["cmd"] == "python -m pipeline step tune"  # without options: the defaults
    paths = tune.Paths()
    outputs = {str(path) for path in (paths.hyperparameters, paths.trials, paths.plots)}
    assert set(stage["outs"]) == outputs
    assert {str(paths.images), str(paths.manifest), str(paths.report)} <= set(stage["deps"])
