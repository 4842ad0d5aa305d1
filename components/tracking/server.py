"""Where MLflow is, and whether it answers. Imports no MLflow: cheap enough before any work."""

import os
import re
import socket
import sqlite3
import tempfile
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from components.core.errors import InvalidParams, PipelineError, ServiceUnavailable
from components.io.project import project_folder

# Schemes with their usual ports; SQLite has a file.
_DATABASES = {"sqlite": 0, "postgresql": 5432, "mysql": 3306, "mssql": 1433}

# Where `make ui` shows what a database holds.
UI = "http://127.0.0.1:5000"

_TRIES = 3
_TRY_SECONDS = 10.0
_PAUSE_SECONDS = 1.0

# How long to wait for a server that may not be there, s.
START_SECONDS = 25.0

# Says how long to wait for one that restarts under a step, s.
OUTAGE = "PIPELINE_MLFLOW_OUTAGE_SECONDS"


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`; unset means a SQLite file in the project's folder.

    Raises:
        InvalidParams: the variable is empty, or names a folder or a scheme that is not supported.
        MissingInput: the project's folder cannot be found from a copy that DVC made.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None:
        return sqlite_uri(project_folder() / "mlflow.db")
    scheme, separator, _ = uri.partition("://")
    if separator and scheme.partition("+")[0] in {"http", "https", *_DATABASES}:
        return uri
    found = f"is {without_credentials(uri)!r}" if uri else "is empty"
    raise InvalidParams(
        f"MLFLOW_TRACKING_URI {found}; it should be http(s)://host:port of an MLflow server or a "
        "database such as sqlite:///mlflow.db. Set it so, or unset it to use ./mlflow.db."
    )


def sqlite_uri(file: Path) -> str:
    """The URI of a database file.

    In a URI `?` ends the path and %41 means A. Quoted it would be right for SQLAlchemy, but MLflow
    makes the folders of the quoted path; the path from the current folder has no such character.
    """
    path = os.path.relpath(file) if set("%?") & set(str(file)) else str(file)
    return f"sqlite:///{path}"


def is_server(uri: str) -> bool:
    """Whether the URI means an MLflow server, not a database."""
    return uri.startswith(("http://", "https://"))


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI, absolute; None for anything else."""
    if not uri.startswith("sqlite:///"):
        return None
    # As SQLAlchemy reads it.
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])).absolute()


def without_credentials(text: str) -> str:
    """The text without user names and passwords in URIs."""
    return re.sub(r"(?<=://)[^/\s@]*@", "", text)


def require_reachable(uri: str | None = None, *, patience: float = START_SECONDS) -> None:
    """Return when MLflow can be used; raise when it cannot, by default within 30 seconds.

    Args:
        uri: a server or a database; None = `tracking_uri()`.
        patience: how long to wait for it, s; a wait that may be longer is announced.

    Raises:
        ServiceUnavailable: the server does not answer, or only with server errors; nothing
            listens where the database should be.
        PipelineError: the file cannot be opened, or is no database.
    """
    uri = tracking_uri() if uri is None else uri
    file = sqlite_file(uri)
    if file is not None:
        _require_database(file)
        return
    started = time.monotonic()
    problem = _probe(uri, _TRY_SECONDS)
    if problem and patience > START_SECONDS:
        announce_wait(uri, problem)
    tries = 1
    while problem and (tries < _TRIES or patience > START_SECONDS):
        left = patience - (time.monotonic() - started)
        if left <= _PAUSE_SECONDS:
            break
        time.sleep(_PAUSE_SECONDS)
        problem = _probe(uri, min(_TRY_SECONDS, left))
        tries += 1
    if problem:
        raise ServiceUnavailable(
            f"MLflow at {without_credentials(uri)} does not answer ({problem}; waited "
            f"{time.monotonic() - started:.0f} s). Start the server or correct "
            "MLFLOW_TRACKING_URI; unset it to use ./mlflow.db. Then run the same command again."
        )


def outage_seconds() -> float:
    """How long a step waits for a server that restarts: five minutes, or what the variable says."""
    text = os.environ.get(OUTAGE, "300")
    if not text.isdecimal():
        raise InvalidParams(f"{OUTAGE} is {text!r}; it should be seconds, like 300: set it so.")
    return float(text)


def announce_wait(uri: str, problem: str) -> None:
    """Say that MLflow is away, and for how long it is waited for."""
    print(
        f"mlflow    {without_credentials(uri)} does not answer ({problem}): waiting for it, "
        f"{outage_seconds():.0f} s at most",
        flush=True,
    )


def answers(uri: str) -> bool:
    """Whether MLflow answers now: one short try."""
    return sqlite_file(uri) is not None or not _probe(uri, _PAUSE_SECONDS)


def _probe(uri: str, timeout: float) -> str:
    """What is wrong with the server, or nothing. Any answer below 500 counts."""
    if not is_server(uri):
        return _probe_port(uri, timeout)
    health = f"{without_credentials(uri).rstrip('/')}/health"
    try:
        urllib.request.urlopen(health, timeout=timeout).close()  # noqa: S310 - http(s) only
    except HTTPError as error:
        return f"HTTP {error.code}" if error.code >= 500 else ""
    except (OSError, HTTPException, ValueError) as error:
        return str(getattr(error, "reason", "") or error or type(error).__name__)
    return ""


def _probe_port(uri: str, timeout: float) -> str:
    """What is wrong with the port of a database: MLflow itself would try for minutes."""
    place = urlsplit(uri)
    try:
        default = _DATABASES[place.scheme.partition("+")[0]]
        address = (place.hostname or "localhost", place.port or default)
        socket.create_connection(address, timeout).close()
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def _require_database(file: Path) -> None:
    """Open the file once: MLflow would try for minutes before it says that it cannot.

    A file that is not there is not made, only one beside it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            tempfile.TemporaryFile(dir=file.parent).close()
            return
        connection = sqlite3.connect(file)
        try:
            connection.execute("PRAGMA schema_version")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise PipelineError(
            f"MLflow's database {file} cannot be opened ({error}). Fix the file or set "
            "MLFLOW_TRACKING_URI to another one, then run the same command again."
        ) from error
