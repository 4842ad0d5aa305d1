import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.core.artifacts import Check, Decision, Evaluation, ValidationReport
from components.core.errors import ServiceUnavailable
from components.io import files, models
from components.io.tracking import registry
from components.io.tracking.registry import Outcome, Submission
from components.io.tracking.runs import open_run
from components.io.tracking.server import require_reachable

Evidence = Callable[[list[str], list[list[int]]], tuple[Evaluation, ValidationReport]]


@pytest.fixture
def served(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real MLflow server that keeps the artifacts to itself."""
    shutil.copy(empty_database, tmp_path / "server.db")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    store = [f"--backend-store-uri=sqlite:///{tmp_path}/server.db"]
    place = [f"--artifacts-destination={tmp_path}/artifacts", "--workers=1", f"--port={port}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, *place],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(uri)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait_for(uri: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            return require_reachable(uri)
        except ServiceUnavailable:
            if time.monotonic() > deadline:
                raise


def test_a_server_gets_one_version_that_was_read_back_through_it(
    served: str, model_folder: Path, evidence: Evidence
) -> None:
    card = models.load_card(model_folder)
    evaluation, report = evidence(card.class_names, [[190, 10], [40, 93]])
    check = Check(name="c", value=0.5, wanted=">= 0.7", verdict="promote", reason="because")
    submission = Submission(
        "cells",
        model_folder,
        files.digest_folder(model_folder),
        card,
        evaluation,
        report,
        Decision(verdict="promote", checks=[check]),
    )
    for created in (True, False):
        with open_run(kind="model", name="n", key="k") as run:
            outcome = registry.register(run, submission)
            assert outcome == Outcome("1", created=created, champion="1")
            assert run.link == (
                f"{served}/#/experiments/{run.store.experiment_id}/runs/{run.id}"
                "?workflowType=machine_learning"
            )
    (version,) = MlflowClient(served).search_model_versions("name='cells'")
    assert version.tags["verified"] == submission.digest
    assert version.run_id == run.id
