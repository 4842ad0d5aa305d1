"""MLflow's UI for the store of this project: where to look, then the server itself."""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import quote

from components.core.errors import PipelineError
from components.io.project import project_folder
from components.tracking import run_table, server
from components.tracking.store import open_store

_HOST = "127.0.0.1"
_EXPERIMENTS = f"#/experiments?{run_table.MODE}"


def serve(model_name: str, port: int) -> None:
    """Print where runs and versions are, then become the server: whatever ends this ends it.

    Where the store is a server already, none is needed, and it returns.

    Args:
        model_name: the registered model.
        port: of this machine.

    Raises:
        PipelineError: the port is taken.
    """
    uri = server.tracking_uri()
    if server.is_server(uri):
        address = server.without_credentials(uri).rstrip("/")
        print(*_links(address, _EXPERIMENTS, model_name), sep="\n")
        return
    _require_free(port)
    with open_store() as store:
        run_table.describe(store.client, store.experiment_id)
        runs = run_table.route(store.experiment_id)
    print(*_links(f"http://{_HOST}:{port}", runs, model_name), sep="\n", flush=True)
    artifacts = (project_folder() / "mlartifacts").absolute().as_uri()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", _HOST]
    command += ["--port", str(port), "--backend-store-uri", uri]
    command += ["--default-artifact-root", artifacts]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own words, no shell


def _links(address: str, runs: str, model_name: str) -> list[str]:
    versions = f"#/models/{quote(model_name)}?{run_table.MODE}"
    return [f"runs      {address}/{runs}", f"versions  {address}/{versions}"]


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise PipelineError(
                f"port {port} of {_HOST} is taken ({error.strerror}); end what listens there, or "
                f"take another one: make ui PORT={port + 1}."
            ) from error
