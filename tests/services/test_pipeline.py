"""The whole pipeline with its images on S3 and MLflow as a server with users.

The tests share one checkout and run in order: a first model, then what happens to the next ones.
"""

import hashlib
import json
import re
import subprocess
import time
from typing import Any

import pytest

from components.tracking import server
from tests.services.overlay import Services
from tests.services.user_project import FirstModel, UserProject

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


def aliases(services: Services) -> dict[str, str]:
    """Alias -> version, from the table itself."""
    rows = services.ask("SELECT alias, version FROM registered_model_aliases").splitlines()
    return dict(row.split("|") for row in rows)


def count(services: Services, table: str) -> int:
    return int(services.ask(f"SELECT count(*) FROM {table}"))


def the_error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong."""
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return line


def status(first_model: FirstModel) -> dict[str, Any]:
    output = first_model.project.command("status", "--json")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def test_the_first_model_becomes_champion_and_its_files_lie_on_s3(
    services: Services, first_model: FirstModel
) -> None:
    assert "passed" in first_model.output
    assert aliases(services) == {"candidate": "1", "champion": "1"}
    weights = first_model.project.root / "artifacts/train/model/weights.safetensors"
    s3 = services.storage.client(services.secret("s3-mlflow"))
    listing = s3.list_objects_v2(Bucket="mlflow", Prefix="artifacts/")["Contents"]
    stored = [entry["Key"] for entry in listing if entry["Key"].endswith(weights.name)]
    assert len(stored) == 1
    content = s3.get_object(Bucket="mlflow", Key=stored[0])["Body"].read()
    assert hashlib.sha256(content).digest() == hashlib.sha256(weights.read_bytes()).digest()
    assert any(entry["Key"].endswith("register/decision.json") for entry in listing)
    assert not list(first_model.project.root.glob("mlflow.db*"))
    assert not (first_model.project.root / "mlartifacts").exists()


@pytest.mark.row("N11")
def test_the_trainer_is_told_in_one_line_that_only_a_promoter_may_register(
    first_model: FirstModel,
) -> None:
    assert first_model.refused.returncode == 1
    assert "only a promoter may register" in the_error(first_model.refused)


def test_status_is_clean_and_verify_decision_gives_the_same_bytes(first_model: FirstModel) -> None:
    found = status(first_model)
    assert found["problems"] == []
    assert found["champion"]["version"] == "1"
    assert "passed, recomputed from" in first_model.project.command("verify-decision")


def test_running_again_changes_nothing(services: Services, first_model: FirstModel) -> None:
    tables = ("runs", "model_versions", "logged_models", "registered_model_aliases")
    before = {table: count(services, table) for table in tables}
    decision = (first_model.project.root / "artifacts/register/decision.json").read_bytes()
    output = first_model.project.run("dvc", "repro")
    assert "already registered" in output
    assert "Running stage 'evaluate'" not in output
    assert (first_model.project.root / "artifacts/register/decision.json").read_bytes() == decision
    assert {table: count(services, table) for table in tables} == before


def test_files_went_through_the_server_and_not_straight_to_s3(
    services: Services, first_model: FirstModel
) -> None:
    log = services.mlflow.log.read_text()
    assert "GET /api/2.0/mlflow-artifacts/artifacts/" in log
    # A step has no way there; who does not say who they are is refused elsewhere.
    assert not re.search(r'mlflow-artifacts/presigned\S* HTTP/1.1" [23]', log)


@pytest.fixture(scope="module")
def second(first_model: FirstModel) -> UserProject:
    """Another model, trained and not registered."""
    first_model.project.set_params({"tune.num_trials": 1, "train.epochs": 1, "training.seed": 1})
    first_model.project.run("dvc", "repro", "evaluate")
    first_model.project.environment[server.OUTAGE] = "15"
    return first_model.project


def test_a_server_that_died_before_register_is_found_within_30_seconds(
    services: Services, second: UserProject
) -> None:
    services.mlflow.end()
    try:
        started = time.monotonic()
        done = second.register()
        seconds = time.monotonic() - started
    finally:
        services.mlflow.start()
    assert done.returncode == 5
    assert "does not answer" in the_error(done)
    assert seconds < 30


@pytest.mark.row("N07")
def test_a_database_that_crashed_between_two_steps_is_not_noticed(
    services: Services, first_model: FirstModel, second: UserProject
) -> None:
    services.postgres.crash_and_restart()
    assert status(first_model)["champion"]["version"] == "1"


@pytest.mark.row("N05")
def test_a_storage_that_dies_while_register_uploads_leaves_no_version(
    services: Services, second: UserProject
) -> None:
    def uploads() -> int:
        return services.mlflow.log.read_text().count('"PUT /api/2.0/mlflow-artifacts/')

    def end_the_storage() -> None:
        before, deadline = uploads(), time.monotonic() + 240
        while uploads() == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        services.storage.end()

    try:
        done = second.register(end_the_storage)
    finally:
        services.storage.start()
    assert done.returncode == 5
    assert "Run the same command again" in the_error(done)
    assert count(services, "model_versions") == 1
    assert aliases(services) == {"candidate": "1", "champion": "1"}


@pytest.mark.row("N07")
def test_repeating_it_when_all_are_back_registers_the_second_model_once(
    services: Services, first_model: FirstModel, second: UserProject
) -> None:
    for text in ("registered: solar-cells version 2", "already registered"):
        done = second.register()
        assert done.returncode == 0, done.stderr
        assert text in done.stdout
    assert count(services, "model_versions") == 2
    assert aliases(services)["candidate"] == "2"
    assert status(first_model)["problems"] == []
    assert "recomputed from" in second.command("verify-decision")


def test_a_person_promotes_and_rolls_back_through_the_server_if_allowed(
    services: Services, first_model: FirstModel, second: UserProject
) -> None:
    trainer = UserProject(second.root, services, "trainer")
    before = aliases(services)
    if before["champion"] == "1":  # blocked: 14 test images are few
        trainer.command("approve", "2", "--yes", "--reason", "try", code=1)
        assert aliases(services) == before
        second.command("approve", "2", "--yes", "--reason", "better light")
    assert aliases(services) == {"candidate": "2", "champion": "2", "previous": "1"}
    trainer.command("rollback", "--yes", "--reason", "try", code=1)
    assert aliases(services)["champion"] == "2"
    second.command("rollback", "--yes", "--reason", "worse in production")
    assert aliases(services) == {"candidate": "2", "champion": "1", "previous": "2"}
    assert status(first_model)["problems"] == []
