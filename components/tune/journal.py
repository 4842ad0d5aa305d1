"""Optuna's journal file, so that no kill and no full disk costs more than the line it hit."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import IO, Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock


def open_journal(path: Path) -> JournalFileBackend:
    """The journal, ready to read: a damaged one is set aside by name, and a new one begun."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    lock = KernelLock(path)
    lock.acquire()
    try:
        if damage := _damage(path):
            aside = _free_name(path)
            path.rename(aside)
            print(
                f"tune      {path} is damaged ({damage}): moved to {aside.name}; its trials are "
                "run again",
                flush=True,
            )
    finally:
        lock.release()
    return _Journal(str(path), lock_obj=lock)


class _Journal(JournalFileBackend):
    """Names its file when that cannot be written."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file_path) from error


class KernelLock(BaseJournalFileLock):
    """A lock on the journal itself, which ends with its process; Optuna's own outlive a kill.

    Who has it cuts an unfinished last line: whoever wrote that is gone, or ran out of disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = threading.Lock()
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._mine.acquire()
        try:
            self._file = self._lock_file()
            _cut_unfinished_line(self._file)
        except BaseException:
            self._mine.release()
            raise
        return True

    def release(self) -> None:
        """Give it back."""
        assert self._file
        self._file.close()
        self._mine.release()

    def _lock_file(self) -> IO[bytes]:
        while True:
            file = self._path.open("a+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(self._path.stat(), os.fstat(file.fileno())):
                return file
            file.close()  # set aside while we waited


def _cut_unfinished_line(file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    if not size:
        return
    file.seek(size - 1)
    if file.read() != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _damage(path: Path) -> str:
    """What is wrong with the lines; empty when they can be read."""
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            if not isinstance(json.loads(line), dict):
                return f"line {number} is no entry"
        except ValueError:
            return f"line {number} cannot be read"
    return ""


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in range(1, 1000))
    return next(name for name in names if not name.exists())
