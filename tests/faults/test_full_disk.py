"""A file system that runs full under a step: one line names it, and with more space it goes on."""

import os
import re
import shutil
from pathlib import Path

import pytest

from components.io import files
from components.tracking.store import open_store
from pipeline import full_disk
from tests.faults import confined
from tests.faults.tiny_project import TinyProject
from tests.registry import events, require_consistent
from tests.test_end_to_end import STEPS

# A tmpfs in the place of a folder, with what is in it and little room; the command, twice: then
# there is room. What the folder holds in the end stays behind, beside it.
_SCRIPT = """
place=$1 room=$2; shift 2
cp -a "$place" "$place.before"
mount -t tmpfs -o size=1g tmpfs "$place"
cp -a "$place.before/." "$place"
used=$(df -k --output=used "$place" | tail -1)
mount -o remount,size=$((used + room))k "$place"
"$@"; echo "exit $?"
mount -o remount,size=1g "$place"
"$@"; echo "exit $?"
cp -a "$place/." "$place.after"
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A project in which every step has run, and whose database lies in a folder of its own."""
    confined.require_namespaces("-m")
    project = TinyProject(tmp_path_factory.mktemp("full") / "project")
    project.make()
    for name in ("store", "scratch"):
        (project.root / name).mkdir()
    project.environment |= {
        "MLFLOW_TRACKING_URI": f"sqlite:///{project.root}/store/mlflow.db",
        "TMPDIR": str(project.root / "scratch"),
    }
    project.begin("before", 0)
    project.run("dvc", "repro")
    return project


def run_on_a_full_disk(project: TinyProject, step: str, place: Path, room: int) -> tuple[str, str]:
    """Run a step with `room` KiB left at a place, then with more; what it printed both times."""
    place.mkdir(parents=True, exist_ok=True)
    for ending in (".before", ".after"):
        shutil.rmtree(f"{place}{ending}", ignore_errors=True)
    ran = confined.run(
        ["unshare", "-m", "sh", "-c", f"exec 2>&1\n{_SCRIPT}", "sh", str(place), str(room),
         *confined.pipeline("step", step)],
        cwd=project.root,
        environment={**project.environment, "PYTHONPATH": str(project.root)},
    )  # fmt: skip
    full, again, _ = re.split(r"^exit \d+$", ran.stdout, flags=re.MULTILINE)
    assert re.findall(r"^exit (\d+)$", ran.stdout, re.MULTILINE) == ["1", "0"], ran.stdout
    return full, again


def require_one_line(output: str, place: Path) -> None:
    """What is printed to the person: one line, which names the file system."""
    assert "Traceback" not in output
    (line,) = re.findall("^error: .*", output, re.MULTILINE)
    assert output.rstrip().endswith(line)
    assert re.search(f"No space left .*file system {re.escape(str(place))}[) ,]", line)


CASES = [
    ("validate", "artifacts/validate", 8),
    ("validate", "cache", 8),
    ("tune", "artifacts/tune", 4),
    ("tune", "store", 4),
    ("train", "artifacts/train", 1000),
    ("train", "store/mlartifacts", 4),
    ("evaluate", "artifacts/evaluate", 8),
    ("evaluate", "store", 0),
    ("register", "artifacts/register", 4),
    ("register", "scratch", 1000),
    ("register", "store/mlartifacts", 1000),
    ("register", "store", 4),
]


@pytest.mark.row("R08")
@pytest.mark.slow
@pytest.mark.parametrize(("step", "folder", "room"), CASES)
def test_a_full_disk_is_named_in_one_line_and_with_more_space_the_step_goes_on(
    step: str, folder: str, room: int, done: TinyProject
) -> None:
    title = f"{step} on {folder.replace('/', ' ')}"
    done.begin(title, STEPS.index(step))
    if folder == "cache":
        shutil.rmtree(done.root / "cache")
    place = done.root / folder
    full, _ = run_on_a_full_disk(done, step, place, room)
    require_one_line(full, place)
    for path in Path(f"{place}.after").rglob("*"):
        assert ".part" not in path.name
    shutil.copytree(f"{place}.after", place, dirs_exist_ok=True)
    done.run("dvc", "repro")  # takes what the step has written, and does the others
    require_registered_once(done, title)


def require_registered_once(project: TinyProject, name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", project.environment["MLFLOW_TRACKING_URI"])
        with open_store() as store:
            assert len(require_consistent(store, name)) == 1
            assert len(store.client.search_model_versions(f"name='{name}'")) == 1
            actions = [action for action, _ in events(store, name)]
    assert actions == ["evaluated", "promotion_started", "promotion_completed"]


@pytest.fixture
def places(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose database lies on a small disk, and nothing else does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk}/mlflow.db")
    return small_disk


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
