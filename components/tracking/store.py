"""The open MLflow store: its client and experiment, and its failures as errors of the pipeline."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import quote

from components.core.errors import PipelineError, ServiceUnavailable
from components.io import files
from components.io.project import project_folder
from components.tracking import database, run_table, server, unused_packages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

P = ParamSpec("P")
T = TypeVar("T")

EXPERIMENT = "image-classification"

# Read by MLflow when it is imported or called. The user's own values win, but for telemetry.
_ENVIRONMENT = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own links open the wrong mode of its UI.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A uv.lock in the current folder would replace the stated requirements.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # Files go through the server. It offers addresses in its S3, which a step need not reach.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    # The defaults silently try for four minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}

_PAUSE_SECONDS = 2.0  # between two tries of a call while the server is away

_REFUSALS = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}


@dataclass(frozen=True)
class Store:
    """An experiment in a tracking store.

    Attributes:
        client: bound to `uri`.
        uri: a server or a database.
        experiment_id: where runs belong.
        parent_run_id: the run that was injected as `MLFLOW_RUN_ID`, if one was.
    """

    client: MlflowClient
    uri: str
    experiment_id: str
    parent_run_id: str | None

    def route(self, run_id: str) -> str:
        """The run's page inside the MLflow UI."""
        return f"#/experiments/{self.experiment_id}/runs/{run_id}?{run_table.MODE}"

    def link(self, run_id: str) -> str:
        """Where a person finds the run."""
        return self._link(self.route(run_id))

    def version_link(self, name: str, version: str) -> str:
        """Where a person finds a version of a registered model, and decides about it."""
        return self._link(f"#/models/{quote(name)}/versions/{version}?{run_table.MODE}")

    def _link(self, route: str) -> str:
        if server.is_server(self.uri):
            return f"{server.without_credentials(self.uri).rstrip('/')}/{route}"
        return f"`make ui`, then {server.UI}/{route}"

    def patiently(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a call to MLflow returns, through restarts of the server.

        Args:
            call: harmless to repeat: its answer may have been lost.
            args: for the call.
            kwargs: for the call.

        Raises:
            MlflowException: it failed for another reason, or the server stays away.
        """
        return _patiently(self.uri, call, *args, **kwargs)


def _patiently(uri: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    from mlflow.exceptions import MlflowException

    deadline = None
    while True:
        try:
            return call(*args, **kwargs)
        except MlflowException as error:
            now = time.monotonic()
            if not is_away(error) or (deadline and now > deadline):
                raise
            if deadline is None:
                deadline = now + server.outage_seconds()
                server.announce_wait(uri, _message(error))
            time.sleep(_PAUSE_SECONDS)


def get_or_none(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """What a call to MLflow returns; None if the thing that it names does not exist.

    Args:
        call: e.g. `store.client.get_run`.
        args: for the call.
        kwargs: for the call.
    """
    from mlflow.exceptions import MlflowException

    try:
        return call(*args, **kwargs)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def is_away(error: MlflowException) -> bool:
    """Whether a call failed because the server does not answer, or only with server errors."""
    from requests.exceptions import RequestException

    return isinstance(error.__cause__ or error.__context__, RequestException)


@contextmanager
def open_store(*, patient: bool = False) -> Iterator[Store]:
    """Connect to MLflow; while open, its failures become errors of the pipeline.

    An injected `MLFLOW_RUN_ID` leaves the environment here, so that no child process takes the run
    for its own.

    Args:
        patient: wait for a server that restarts.

    Raises:
        ServiceUnavailable: the server does not answer.
        PipelineError: MLflow refuses.
    """
    uri = server.tracking_uri()
    patience = server.outage_seconds() if patient else server.START_SECONDS
    server.require_reachable(uri, patience=patience)
    injected = os.environ.pop("MLFLOW_RUN_ID", None)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # It prints the stack of every error of the database, which is raised as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    unused_packages.leave_unrun()
    with _environment("MLFLOW_TRACKING_URI", uri):
        from mlflow.exceptions import MlflowException

        try:
            connect = functools.partial(_connect, uri, injected)
            yield _patiently(uri, connect) if patient else connect()
        except MlflowException as error:
            if (known := _explain(error, uri)) or not files.is_full(error):
                raise known or _quote(error, uri) from error
            raise  # said elsewhere, with the name of the file system


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable for a while: parts of MLflow look at it and not at the client's URI."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _connect(uri: str, injected: str | None) -> Store:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from components.tracking import whole_answers

    try:
        if file := server.sqlite_file(uri):
            database.make(file, _artifact_location(uri))
        else:
            whole_answers.require()
        client = MlflowClient(uri)
        experiment_id = _experiment_of(client, injected) if injected else _experiment(client)
    except MlflowException as error:
        if _explain(error, uri) or files.is_full(error):
            raise
        raise PipelineError(
            f"MLflow at {server.without_credentials(uri)} cannot be used ({_message(error)}). "
            "Correct MLFLOW_TRACKING_URI, or unset it to use ./mlflow.db."
        ) from error
    return Store(client, uri, experiment_id, injected)


def _experiment(client: MlflowClient) -> str:
    """The id of `MLFLOW_EXPERIMENT_NAME`, or of the default name; created when missing."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    return ensure_experiment(client, name, run_table.TAGS)


def ensure_experiment(client: MlflowClient, name: str, tags: Mapping[str, str]) -> str:
    """The id of an experiment; created when missing, by one of several that come at once.

    Args:
        client: of the store.
        name: unique in the store.
        tags: of a new one.

    Raises:
        PipelineError: it is deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = _artifact_location(client.tracking_uri)
        try:
            return str(client.create_experiment(name, location, dict(tags)))
        except MlflowException as error:
            # Another process was faster, or the answer was lost.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error
    if found.lifecycle_stage != "active":
        raise PipelineError(
            f"MLflow: the experiment {name} is deleted. Restore it with `mlflow experiments restore"
            f" --experiment-id {found.experiment_id}`."
        )
    return str(found.experiment_id)


def _artifact_location(uri: str) -> str | None:
    """A folder beside the database, or its URI; a server decides for itself."""
    if server.is_server(uri):
        return None
    file = server.sqlite_file(uri)
    folder = (file.parent if file else project_folder()) / "mlartifacts"
    # MLflow decodes a path, too: what quoting would change must be quoted.
    return str(folder) if quote(str(folder)) == str(folder) else folder.as_uri()


def _experiment_of(client: MlflowClient, run_id: str) -> str:
    run = get_or_none(client.get_run, run_id)
    if run is None:
        raise PipelineError(
            f"MLFLOW_RUN_ID is {run_id}, but MLflow at "
            f"{server.without_credentials(client.tracking_uri)} has no such run. Unset it, or set "
            "MLFLOW_TRACKING_URI to the store that has it."
        )
    return str(run.info.experiment_id)


def _quote(error: MlflowException, uri: str) -> PipelineError:
    """What MLflow says, where we know no better."""
    return PipelineError(
        f"MLflow at {server.without_credentials(uri)} did not do what was asked "
        f"({_message(error)}). Mend what it names, then run the same command again."
    )


def _explain(error: MlflowException, uri: str) -> PipelineError | None:
    """What a failed call means: the service is away, or it refuses us; None if neither."""
    where = f"MLflow at {server.without_credentials(uri)}"
    if is_away(error):
        return ServiceUnavailable(
            f"{where} stopped answering ({_message(error)}). Run the same command again once it is "
            "back."
        )
    if error.error_code in _REFUSALS:
        return PipelineError(
            f"{where} refuses ({_message(error)}). Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD to those of a user who may do this (only a promoter may "
            "register), or add this host to the server's --allowed-hosts."
        )
    return None


def _message(error: MlflowException) -> str:
    """MLflow's words in one short line, without credentials."""
    return " ".join(server.without_credentials(error.message).split())[:300]
