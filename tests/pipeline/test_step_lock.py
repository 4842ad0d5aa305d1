"""Two runs of one step: the second is refused while the first lives, and not after."""

import dataclasses
import errno
import fcntl
import multiprocessing
import os
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from components import STEPS, evaluate, register, train, tune, validate
from components.core.errors import PipelineError
from pipeline import step_lock

CONTEXT = multiprocessing.get_context("spawn")


def below(root: Path) -> train.Paths:
    moved = {
        field.name: root / field.default
        for field in dataclasses.fields(train.Paths)
        if isinstance(field.default, Path)
    }
    return train.Paths(**moved)


def hold_until_killed(root: Path, connection: Any) -> None:
    with step_lock.held("train", below(root)):
        connection.send("held")
        connection.recv()


@pytest.mark.row("R19", "T13")
def test_a_second_run_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    mine, other = CONTEXT.Pipe()
    first = CONTEXT.Process(target=hold_until_killed, args=(tmp_path, other))
    first.start()
    assert mine.recv() == "held"
    expected = rf"artifacts/train: train is running as process {first.pid} on \S+ since .* UTC: end"
    with pytest.raises(PipelineError, match=expected) as refused, run(tmp_path):
        pass
    assert refused.value.exit_code == 1
    first.kill()
    first.join()
    with run(tmp_path):
        text = (tmp_path / "artifacts/train/.train.lock").read_text()
        assert re.match(rf"process {os.getpid()} on ", text)
    assert (tmp_path / "artifacts/train/.train.lock").read_text() == ""


def run(root: Path) -> Any:
    return step_lock.held("train", below(root))


def test_another_folder_is_another_owner(tmp_path: Path) -> None:
    with run(tmp_path / "a"), run(tmp_path / "b"):
        owners = [path.read_text() for path in tmp_path.rglob(".train.lock")]
    assert len(owners) == 2
    assert all(owner.startswith(f"process {os.getpid()} on ") for owner in owners)


def test_another_machine_is_waited_for_as_long_as_a_file_server_keeps_its_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "process 7 on pod-1 since then"
    lock = tmp_path / "artifacts/train/.train.lock"
    with ExitStack() as first:
        first.enter_context(run(tmp_path))
        lock.write_text(elsewhere)
        monkeypatch.setattr(time, "sleep", lambda _: first.close())
        with run(tmp_path):
            lock.write_text(elsewhere)
            monkeypatch.setattr(step_lock, "_LEASE_SECONDS", 0.0)
            with pytest.raises(PipelineError, match=elsewhere), run(tmp_path):
                pass


def test_where_files_cannot_be_locked_a_step_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    worked = []
    with run(tmp_path), run(tmp_path):  # nobody is kept out
        worked.append(1)
    assert worked == [1]


@pytest.mark.row("R19")
@pytest.mark.parametrize("step", STEPS)
def test_every_step_locks_the_folder_that_it_writes(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {m.__name__: m for m in (validate, tune, train, evaluate, register)}[
        f"components.{step}"
    ]
    monkeypatch.chdir(tmp_path)
    with step_lock.held(step, module.Paths()):
        assert [path.name for path in Path("artifacts").rglob("*.lock")] == [f".{step}.lock"]
