"""A journal that was torn, damaged or locked by a process that is gone."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from components.tune import search, storage
from components.tune.journal import KernelLock, open_journal
from tests.components.tune import workers


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a study with one trial, by a path from the current folder, like that of the step."""
    monkeypatch.chdir(tmp_path)
    path = Path("study.journal")
    open_study(path).ask()
    return path


def open_study(path: Path) -> optuna.Study:
    with search.open_study(path, workers.make_context(3), worker=0) as queue:
        return queue.study


@pytest.mark.row("T16")
def test_an_unfinished_last_line_is_cut_and_the_study_goes_on(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = journal.read_bytes()
    journal.write_bytes(content + content.splitlines()[-1][:-10])
    study = open_study(journal)
    assert len(study.trials) == 1
    study.ask()
    assert len(open_study(journal).trials) == 2
    assert capsys.readouterr().out == ""


def test_a_line_that_another_worker_left_unfinished_is_cut_before_the_next_is_written(
    journal: Path,
) -> None:
    study = open_study(journal)
    with journal.open("ab") as file:
        file.write(b'{"op_code":')
    study.ask()
    assert [json.loads(line) for line in journal.read_bytes().splitlines()]
    assert len(study.trials) == 2


@pytest.mark.row("T16")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [lines[0][:20], *lines[1:]], "line 1 cannot be read"),
        (lambda lines: [*lines, b"\xff\x00\xfe"], "cannot be read"),
        (lambda lines: [*lines, b"7"], "is no entry"),
    ],
)
def test_a_damaged_journal_is_set_aside_by_name_and_a_new_one_begun(
    journal: Path,
    damage: Callable[[list[bytes]], list[bytes]],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in (1, 2):
        lines = damage(journal.read_bytes().splitlines())
        journal.write_bytes(b"\n".join(lines) + b"\n")
        assert open_study(journal).trials == []
        aside = journal.with_name(f"study.journal.damaged-{number}")
        assert aside.read_bytes().splitlines() == lines
        text = capsys.readouterr().out
        assert said in text
        assert f"moved to {aside.name}" in text


def lock_and_die(path: Path) -> None:
    KernelLock(path.absolute()).acquire()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.row("T15")
def test_a_kill_while_the_journal_is_locked_stops_nobody(journal: Path) -> None:
    killed = multiprocessing.get_context("fork").Process(target=lock_and_die, args=(journal,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    journal.with_name("study.journal.lock").symlink_to("artifacts/tune/study.journal")  # Optuna's
    study = open_study(journal)
    study.ask()
    assert len(study.trials) == 2


def test_whoever_waited_while_the_journal_was_set_aside_locks_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    path.touch()
    lock = KernelLock(path)
    opened = [path.open("ab"), None]
    path.rename(tmp_path / "aside")
    path.touch()
    real, calls = Path.open, iter(opened)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode: next(calls) or real(self, mode))
        lock.acquire()
    lock.release()
    assert next(calls, "none is left") == "none is left"


def test_a_database_needs_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(storage.VARIABLE, f"sqlite:///{tmp_path}/study.db")
    open_study(tmp_path / "study.journal")
    assert not (tmp_path / "study.journal").exists()


def test_a_failed_lock_leaves_the_journal_free_for_others(tmp_path: Path) -> None:
    lock = KernelLock(tmp_path / "nowhere/study.journal")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            lock.acquire()
    open_journal(tmp_path / "study.journal").append_logs([{"op_code": 0}])
