"""Where a study lies: in a journal file, or in a database that several machines reach."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import InvalidParams, ServiceUnavailable

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy import Engine

# Names the database; without it the journal file serves the workers of one machine.
VARIABLE = "OPTUNA_STORAGE"


@contextmanager
def open_storage(journal: Path) -> Iterator[BaseStorage]:
    """The database that OPTUNA_STORAGE names, else the journal file.

    Raises:
        InvalidParams: OPTUNA_STORAGE is no database URL.
        ServiceUnavailable: the database does not answer, now or while it is open, for longer than
            a server may take to restart.
    """
    import optuna
    from sqlalchemy import exc, make_url

    from components.tune.journal import open_journal

    address = os.environ.get(VARIABLE)
    if not address:
        yield optuna.storages.JournalStorage(open_journal(journal))
        return
    try:
        url = make_url(address)
        url.get_dialect()
    except (exc.ArgumentError, ImportError) as error:
        raise InvalidParams(
            f"{VARIABLE} is not a database URL ({type(error).__name__}); it should be like "
            "postgresql://user:password@host/name or sqlite:///file.db."
        ) from None  # the cause may quote the password
    from components.tune import patience

    try:
        if url.get_backend_name() == "sqlite":  # a file is there, or is not
            yield _connect(address, "sqlite")
        else:
            connect = functools.partial(_connect, address, url.get_backend_name())
            yield patience.PatientStorage(connect, f"{VARIABLE} {url.render_as_string()}")
    except (exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ServiceUnavailable(
            f"{VARIABLE} {url.render_as_string()}: does not answer ({patience.first_line(error)}); "
            "finished trials are kept. Start the database, then run the same command again."
        ) from error


def _connect(address: str, backend: str) -> RDBStorage:
    """Several workers may make the tables at once: all but one fail, and find them made."""
    import optuna
    from sqlalchemy import exc

    # Seconds to wait for a server to connect, for the lock of a file.
    timeouts = {"postgresql": {"connect_timeout": 10}, "sqlite": {"timeout": 60}}
    options = {"pool_pre_ping": True, "connect_args": timeouts.get(backend, {})}
    try:
        storage = optuna.storages.RDBStorage(address, engine_kwargs=options)
    except (exc.IntegrityError, exc.ProgrammingError, exc.OperationalError):
        time.sleep(2)
        storage = optuna.storages.RDBStorage(address, engine_kwargs=options)
    if backend == "sqlite":
        _lock_before_reading(storage.engine)
    return storage


def _lock_before_reading(engine: Engine) -> None:
    """Let each transaction of SQLite lock the file as it begins.

    Optuna reads whether a trial is free, then claims it; SQLite has no lock for single rows, so two
    workers would claim the same one.
    """
    from sqlalchemy import event

    def leave_begin_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    event.listen(engine, "connect", leave_begin_to_us)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # connections that were opened before
