"""The whole pipeline with its images on S3 and MLflow as a server with users.

The tests share one checkout and run in order: a first model, then what happens to the next ones.
"""

import hashlib
import json
from typing import Any

import pytest

from tests.services.desk import Story
from tests.services.overlay import Services

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


def aliases(services: Services) -> dict[str, str]:
    """Alias -> version, from the table itself."""
    rows = services.ask("SELECT alias, version FROM registered_model_aliases").splitlines()
    return dict(row.split("|") for row in rows)


def count(services: Services, table: str) -> int:
    return int(services.ask(f"SELECT count(*) FROM {table}"))


def status(story: Story) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(story.desk.verb("status", "--json").splitlines()[-1])
    return found


def test_the_first_model_becomes_champion_and_its_files_lie_on_s3(
    services: Services, story: Story
) -> None:
    assert "PASS" in story.first
    assert aliases(services) == {"candidate": "1", "champion": "1"}
    weights = story.desk.root / "artifacts/train/model/model.safetensors"
    s3 = services.storage.client(services.secret("s3-mlflow"))
    listing = s3.list_objects_v2(Bucket="mlflow", Prefix="artifacts/")["Contents"]
    stored = [entry["Key"] for entry in listing if entry["Key"].endswith(weights.name)]
    assert len(stored) == 1
    content = s3.get_object(Bucket="mlflow", Key=stored[0])["Body"].read()
    assert hashlib.sha256(content).digest() == hashlib.sha256(weights.read_bytes()).digest()
    assert any(entry["Key"].endswith("register/decision.json") for entry in listing)
    assert not list(story.desk.root.glob("mlflow.db*"))
    assert not (story.desk.root / "mlartifacts").exists()


def test_the_trainer_is_told_in_one_line_that_registering_is_not_for_him(story: Story) -> None:
    assert story.refused.returncode == 1
    (line,) = [line for line in story.refused.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in story.refused.stderr
    assert "refuses" in line
    assert "MLFLOW_TRACKING_USERNAME" in line


def test_status_is_clean_and_replay_gives_the_same_bytes(story: Story) -> None:
    found = status(story)
    assert found["faults"] == []
    assert found["champion"]["version"] == "1"
    assert "promote, recomputed from" in story.desk.verb("replay")


def test_running_again_changes_nothing(services: Services, story: Story) -> None:
    tables = ("runs", "model_versions", "logged_models", "registered_model_aliases")
    before = {table: count(services, table) for table in tables}
    receipt = (story.desk.root / "artifacts/register/decision.json").read_bytes()
    output = story.desk.run("dvc", "repro")
    assert "already registered" in output
    assert "Running stage 'evaluate'" not in output
    assert (story.desk.root / "artifacts/register/decision.json").read_bytes() == receipt
    assert {table: count(services, table) for table in tables} == before
