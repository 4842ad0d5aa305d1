"""One at a time: who moves the aliases of a registered model.

A file lock beside a SQLite database; an advisory lock in a session of its own in PostgreSQL. Both
end with their process. An MLflow server offers none: there the audit log alone decides, by
its compare-and-swap.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from components.core.errors import PipelineError, ServiceUnavailable
from components.tracking import lineage, server

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from components.tracking.store import Store

# Longer than the wait for a promotion whose owner has no lock.
_WAIT_SECONDS = 90.0
_POLL_SECONDS = 0.05

_HOLDER = (
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.granted"
    " AND l.locktype = 'advisory' AND (l.classid::bigint << 32) + l.objid::bigint = :key"
)

_SESSION = "SELECT pg_backend_pid()"


class Guard:
    """A held lock.

    Attributes:
        exclusive: whether nobody else can hold it; False where the store has no locks.
    """

    def __init__(self, exclusive: bool, check: Callable[[], bool] = lambda: True) -> None:
        self.exclusive = exclusive
        self._check = check

    def require_held(self) -> None:
        """Raise `PipelineError` if the lock was lost meanwhile."""
        if not self._check():
            raise PipelineError(
                "MLflow: the lock was lost (its file or its database session is gone) before an "
                "alias moved. Run the same command again."
            )


@contextmanager
def held(store: Store, name: str, *, seconds: float = _WAIT_SECONDS) -> Iterator[Guard]:
    """Hold the lock of a registered model.

    Args:
        store: where the model is.
        name: of the registered model.
        seconds: how long to wait for whoever holds it.

    Raises:
        PipelineError: somebody else still holds it.
    """
    file = server.sqlite_file(store.uri)
    if file is not None:
        with _file_lock(file.with_name(f"{file.name}.lock"), seconds) as guard:
            yield guard
    elif store.uri.startswith("postgresql"):
        with _session_lock(store.uri, name, seconds) as guard:
            yield guard
    else:
        yield Guard(exclusive=False)


@contextmanager
def _file_lock(path: Path, seconds: float) -> Iterator[Guard]:
    with path.open("a+") as file:

        def try_lock() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait(try_lock, path.read_text, str(path), seconds)
        file.truncate(0)
        file.write(_owner())
        file.flush()
        yield Guard(exclusive=True, check=lambda: _is_at(path, file))
        file.truncate(0)


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether the open file is still the one of that name: a new one could be locked by others."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def _session_lock(uri: str, name: str, seconds: float) -> Iterator[Guard]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    settings = {"application_name": _owner()[:63]}
    engine = create_engine(
        uri, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=settings
    )
    key = {"key": _lock_key(name)}
    try:
        with engine.connect() as session:

            def scalar(query: str) -> object:
                return session.execute(text(query), key).scalar()

            _wait(
                lambda: bool(scalar("SELECT pg_try_advisory_lock(:key)")),
                lambda: str(scalar(_HOLDER)),
                f"{server.without_credentials(uri)}, model {name}",
                seconds,
            )
            owner = scalar(_SESSION)
            yield Guard(exclusive=True, check=lambda: _is_alive(session, owner))
    except SQLAlchemyError as error:
        raise ServiceUnavailable(
            f"MLflow's database {server.without_credentials(uri)} stopped answering while the "
            f"lock was held ({type(error).__name__}). Run the same command again once it is back."
        ) from error


def _is_alive(session: Connection, owner: object) -> bool:
    """Whether it is still the session that took the lock: the lock ends with it."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return bool(session.execute(text(_SESSION)).scalar() == owner)
    except SQLAlchemyError:
        return False


def _lock_key(name: str) -> int:
    """A signed number of 64 bits."""
    digest = hashlib.sha256(f"registered model {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _wait(
    try_lock: Callable[[], bool], holder: Callable[[], str], where: str, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while not try_lock():
        if time.monotonic() > deadline:
            raise PipelineError(
                f"MLflow: {holder() or 'another process'} holds the lock ({where}) for longer than "
                f"{seconds:.0f} s. Wait for it or end it, then run the same command again."
            )
        time.sleep(_POLL_SECONDS)


def _owner() -> str:
    return f"process {os.getpid()} of {lineage.current_actor()}"
