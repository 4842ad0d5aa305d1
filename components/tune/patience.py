"""A database that restarts under a search: calls wait for it, so that it ends no worker."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from sqlalchemy import exc

from components.core.errors import causes
from components.tracking import server

P = ParamSpec("P")
T = TypeVar("T")

_PAUSE_SECONDS = 2.0  # between two tries of a call

# A server that answers so will answer so tomorrow.
_REFUSAL = re.compile(r"authentication failed|does not exist|pg_hba\.conf|no password supplied")


class PatientStorage(_CachedStorage):
    """Optuna's storage in a database; a call is repeated while the database is away.

    Repeating is harmless: a trial that was made twice is one too many for its slot, and is dropped.

    Attributes:
        outages: how often the database was away so far.
    """

    def __init__(self, connect: Callable[[], RDBStorage], address: str) -> None:
        self.outages = 0
        self._address = address
        self._deadline: float | None = None  # of this outage, for all threads
        super().__init__(self._patiently(connect))
        for name in vars(BaseStorage):
            if not name.startswith("_"):
                patient = functools.partial(self._patiently, getattr(self, name))
                setattr(self, name, patient)

    def _patiently(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                result = call(*args, **kwargs)
            except (exc.SQLAlchemyError, StorageInternalError) as error:
                now = time.monotonic()
                if not is_away(error) or (self._deadline and now > self._deadline):
                    raise
                if self._deadline is None:
                    self._deadline = now + server.outage_seconds()
                    self.outages += 1
                    self._announce(error)
                time.sleep(_PAUSE_SECONDS)
            else:
                self._deadline = None
                return result

    def _announce(self, error: Exception) -> None:
        print(
            f"tune      {self._address} does not answer ({first_line(error)}): waiting for it, "
            f"{server.outage_seconds():.0f} s at most",
            flush=True,
        )


def is_away(error: Exception) -> bool:
    """Whether a call failed because its connection was lost, or none could be made.

    Optuna tries some things again on the lost connection: then that is one of the causes.
    """
    return any(isinstance(cause, exc.DBAPIError) and _is_lost(cause) for cause in causes(error))


def _is_lost(error: exc.DBAPIError) -> bool:
    unconnected = isinstance(error, exc.OperationalError) and error.statement is None
    return error.connection_invalidated or (unconnected and not _REFUSAL.search(str(error)))


def first_line(error: Exception) -> str:
    """What the database's driver said."""
    return str(error.__cause__ or error).strip().splitlines()[0]
