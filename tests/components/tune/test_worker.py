"""A process is known by its host, its number and its start; what cannot be known is not gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.tune import worker
from tests.components.conftest import ROOT

IDENTIFY = "from components.tune.worker import identify; print(identify(), flush=True); input()"


def test_a_process_is_there_until_it_ends_reaped_or_not() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IDENTIFY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout
        found = child.stdout.readline().strip()
        assert not worker.has_ended(found)
        child.kill()
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays, as a zombie
        assert worker.has_ended(found)
    assert worker.has_ended(found)


def test_another_process_of_the_same_number_is_another_one() -> None:
    host, number, started = worker.identify().rsplit(" ", 2)
    assert not worker.has_ended(f"{host} {number} {started}")
    assert worker.has_ended(f"{host} {number} {int(started) - 1}")


@pytest.mark.parametrize("elsewhere", ["", "pod-1 pid:[1] 1 1"])
def test_of_another_machine_nothing_is_known(elsewhere: str) -> None:
    assert not worker.has_ended(elsewhere)


def test_without_proc_only_the_number_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(path: Path, *_: object, **__: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "readlink", nothing)
    monkeypatch.setattr(Path, "read_text", nothing)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    mine = worker.identify()
    assert not worker.has_ended(mine)
    monkeypatch.setattr(os, "kill", _gone)
    assert worker.has_ended(mine)


def _gone(*_: object) -> None:
    raise ProcessLookupError


def test_a_process_of_another_user_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not worker.has_ended(worker.identify())
