"""Which file system is full, whatever an error says of it."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.io import files
from pipeline import full_disk
from tests.faults import confined, fill, tiny_project
from tests.test_end_to_end import STEPS, Project


@pytest.fixture
def places(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose database lies on a small disk, and nothing else does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk}/mlflow.db")
    return small_disk


@pytest.mark.row("R08")
def test_an_error_that_names_no_file_means_the_file_system_with_the_least_space(
    places: Path,
) -> None:
    words = full_disk.explain(OSError(28, os.strerror(28)))
    assert words == f"No space left on the file system {places} (0.1 MiB, {places})"


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "a", None, "b"),
        OSError(122, "Disk quota exceeded", "b"),
    ],
)
def test_of_a_copy_the_second_file_is_meant(error: OSError, places: Path) -> None:
    words = full_disk.explain(error)
    assert re.fullmatch(r"No space left on the file system \S+ \([\d,.]+ MiB, b\)", words)


@pytest.mark.parametrize(
    "words", ["(sqlite3.OperationalError) database or disk is full", "[Errno 28] No space left on"]
)
def test_the_words_of_a_library_count_wherever_they_stand_in_the_chain(
    words: str, places: Path
) -> None:
    failed = ValueError("the upload failed")
    failed.__cause__ = RuntimeError(f"{words} device")
    assert files.is_full(failed)
    assert str(places) in full_disk.explain(failed)


def test_another_error_is_not_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    assert full_disk.explain(OSError(13, "Permission denied", "a")) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")  # nobody asks where that is
    assert full_disk.explain(OSError(28, "full")) != ""


@dataclass(frozen=True)
class Case:
    """A step, the one place that is a full file system then, and what is left there, KiB."""

    step: str
    place: str
    left: int
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    code: int = 1

    def __str__(self) -> str:
        return f"{self.step}: {self.place}"


# A page for the step's lock; whatever it writes next, all that was there stays as it was.
PAGE = 4

CASES = [
    Case("validate", "artifacts/validate", 0),
    Case("tune", "artifacts/tune", PAGE, options=("--study", "study/study.journal")),
    Case("train", "artifacts/train", PAGE),
    Case("evaluate", "artifacts/evaluate", PAGE),
    Case("register", "artifacts/register", PAGE),
    Case("validate", "cache", PAGE),
    Case("tune", "cache", PAGE, code=0),  # images are decoded again in every epoch
    Case("tune", "study", PAGE, options=("--study", "study/study.journal")),
    Case("tune", "store", 0),
    Case("train", "store", PAGE),
    Case("evaluate", "store/mlartifacts", PAGE),
    Case("register", "store/mlartifacts", 1024),
    # Python looks for another place if it cannot write a word there.
    Case("register", "temporary", 64, environment={"TMPDIR": "temporary"}),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project after a run; `before-STEP` beside it is MLflow's store before a step."""
    project = Project(tmp_path_factory.mktemp("full") / "project")
    tiny_project.make(project.root)
    project.environment |= {
        "MLFLOW_TRACKING_URI": f"sqlite:///{project.root}/store/mlflow.db",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for place in ("store/mlartifacts", "study", "temporary", "cache"):
        (project.root / place).mkdir(parents=True)
    for step in STEPS:
        shutil.copytree(project.root / "store", project.root.with_name(f"before-{step}"))
        project.run(*confined.pipeline("step", step))
    shutil.rmtree(project.root / "cache")
    shutil.copytree(project.root / "artifacts", project.root.with_name("finished"))
    return project


def set_back(root: Path, case: Case) -> Path:
    """All is as after the run, but MLflow knows nothing of the step; what the place holds then.

    The disk will hide that, so it is copied.
    """
    for name, source in {"artifacts": "finished", "store": f"before-{case.step}"}.items():
        shutil.rmtree(root / name)
        shutil.copytree(root.with_name(source), root / name)
    for name in ("cache", "study"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
    held = root.with_name("held")
    shutil.rmtree(held, ignore_errors=True)
    shutil.copytree(root / case.place, held)
    return held


@pytest.mark.row("R08")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_on_a_full_disk_names_it_and_succeeds_when_there_is_room(
    case: Case, finished: Project
) -> None:
    root = finished.root
    held, disk, watched = set_back(root, case), root / case.place, root / "artifacts" / case.step
    words = [str(disk), str(held), str(case.left << 10), str(watched)]
    step = confined.pipeline("step", case.step, *case.options)
    done = confined.run(
        [sys.executable, fill.__file__, *words, *step],
        disks={disk: "256m"},
        cwd=root,
        environment=finished.environment | {k: str(root / v) for k, v in case.environment.items()},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    full, again, before = found["full"], found["again"], found["before"]
    assert full["code"] == case.code, full["said"]
    errors = [line for line in full["said"].splitlines() if "rror" in line]
    assert len(errors) == case.code, full["said"]
    assert all(re.search(f"No space left .*file system {disk}[ )]", line) for line in errors)
    assert all(case.place in line.replace(f"file system {disk}", "") for line in errors), errors
    assert again["code"] == 0, again["said"]
    assert before.keys() <= full["files"].keys()
    if watched == disk:
        assert full["files"] == before
    assert [name for name in again["files"] if "part" in name] == []
