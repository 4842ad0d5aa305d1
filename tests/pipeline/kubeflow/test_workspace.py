"""The folders of runs on a volume that they share."""

import os
import time
from pathlib import Path

import pytest

from components.core.errors import MissingInput, PipelineError
from pipeline.kubeflow import workspace

DAY = 24 * 60 * 60


def make_run(runs: Path, name: str, idle_days: float) -> Path:
    folder = runs / name
    workspace.make_folder(folder / "checkout/data")
    (folder / "checkout/data/1.png").write_bytes(b"pixels")
    workspace.note_start(folder)
    then = time.time() - idle_days * DAY
    os.utime(folder / "started", (then, then))
    return folder


def test_idle_runs_are_deleted_and_younger_ones_and_strangers_stay(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    mine = make_run(runs, "mine", idle_days=99)  # its own run, however old
    old = make_run(runs, "old", 14.1)
    make_run(runs, "young", 13.9)
    (runs / "lost+found").mkdir()
    assert workspace.prune(mine, 14) == [f"{old}: deleted, idle for 14 days"]
    assert {path.name for path in runs.iterdir()} == {"mine", "young", "lost+found"}
    assert workspace.prune(mine, 14) == []


def test_a_step_that_starts_makes_its_run_young_again(tmp_path: Path) -> None:
    mine, old = make_run(tmp_path, "mine", 0), make_run(tmp_path, "old", 30)
    workspace.note_start(old)
    assert workspace.prune(mine, 14) == []
    assert old.is_dir()


def test_what_an_interrupted_deletion_left_is_deleted_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, old = make_run(tmp_path, "mine", 0), make_run(tmp_path, "old", 30)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            workspace.prune(mine, 14)
    assert workspace.prune(mine, 14) == [f"{old}: deleted, idle for 30 days"]


def test_a_deleted_folder_is_named_and_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"deleted after cluster.workspace_days"):
        workspace.note_start(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_refused_folder_is_named_with_its_owner_and_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    volume = tmp_path / "volume"
    volume.mkdir(mode=0o755)
    monkeypatch.setattr(Path, "mkdir", refuse)
    owner = f"{os.getuid()}:{os.getgid()}"
    expected = f"^{volume}: belongs to {owner} with mode 0755, and steps run as {owner}; .*fsGroup"
    with pytest.raises(PipelineError, match=expected):
        workspace.make_folder(volume / "checkout")
