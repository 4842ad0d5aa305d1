import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from components.core.artifacts import Check, Decision, Evaluation, ValidationReport, Verdict
from components.core.errors import ChangedInput, PipelineError
from components.io import files, models
from components.io.tracking import registry
from components.io.tracking.registry import Outcome, Submission
from components.io.tracking.runs import open_run

NAME = "cells"

Evidence = Callable[[list[str], list[list[int]]], tuple[Evaluation, ValidationReport]]


def decided(verdict: Verdict) -> Decision:
    check = Check(name="c", value=0.5, wanted=">= 0.7", verdict=verdict, reason="because")
    return Decision(verdict=verdict, checks=[check])


@pytest.fixture
def good(model_folder: Path, evidence: Evidence) -> Submission:
    card = models.load_card(model_folder)
    evaluation, report = evidence(card.class_names, [[190, 10], [40, 93]])
    digest = files.digest_folder(model_folder)
    return Submission(NAME, model_folder, digest, card, evaluation, report, decided("promote"))


@pytest.fixture
def refused(good: Submission) -> Submission:
    return replace(good, decision=decided("hold"))


@pytest.fixture
def other(good: Submission, tmp_path: Path) -> Submission:
    """Another model of the same name: one file more in its folder."""
    folder = Path(shutil.copytree(good.folder, tmp_path / "other/model"))
    (folder / "notes.txt").write_text("retrained")
    return replace(good, folder=folder, digest=files.digest_folder(folder))


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leaves out reading packages back, which takes seconds; lists the models it was asked for."""
    asked: list[str] = []

    def note(_store: object, model_id: str, _folder: Path, _digest: str) -> None:
        asked.append(model_id)

    monkeypatch.setattr(registry, "verify", note)
    return asked


@pytest.fixture
def client(store: str) -> MlflowClient:
    return MlflowClient(store)


def register(submission: Submission) -> Outcome:
    with open_run(kind="model", name="n", key="k") as run:
        return registry.register(run, submission)


def aliases(client: MlflowClient) -> dict[str, str]:
    return {k: str(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def versions(client: MlflowClient) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name='{NAME}'"))


def logged(version: ModelVersion) -> str:
    return str(version.source).removeprefix("models:/")


def require_complete(client: MlflowClient, submission: Submission) -> None:
    """One version with everything on it, and both aliases."""
    (version,) = versions(client)
    assert version.tags["model"] == version.tags["verified"] == submission.digest
    assert version.tags["data"] == submission.card.data_digest
    assert version.tags["gate"] == "pass"
    assert len(version.tags["decision"]) == 64
    assert str(version.description).startswith("PASS 0.778")
    number = str(version.version)
    assert aliases(client) == {"candidate": number, "champion": number}
    tags = client.get_run(str(version.run_id)).data.tags
    assert tags["gate"] == "pass"
    assert tags["version"] == f"{NAME}/{number}"


@pytest.mark.usefixtures("verified")
def test_a_promoted_model_is_candidate_and_champion(client: MlflowClient, good: Submission) -> None:
    assert register(good) == Outcome("1", created=True, champion="1")
    require_complete(client, good)


def test_registering_again_changes_nothing(
    client: MlflowClient, good: Submission, verified: list[str]
) -> None:
    register(good)
    before = versions(client)[0].last_updated_timestamp
    assert register(good) == Outcome("1", created=False, champion="1")
    assert versions(client)[0].last_updated_timestamp == before
    assert len(verified) == 1


@pytest.mark.usefixtures("verified")
def test_a_refused_model_is_registered_and_the_champion_stays(
    client: MlflowClient, good: Submission, other: Submission
) -> None:
    register(good)
    outcome = register(replace(other, decision=decided("hold")))
    assert outcome == Outcome("2", created=True, champion="1")
    assert aliases(client) == {"candidate": "2", "champion": "1"}


@pytest.mark.usefixtures("verified")
def test_a_first_model_that_is_refused_is_no_champion(
    client: MlflowClient, refused: Submission
) -> None:
    assert register(refused) == Outcome("1", created=True, champion=None)
    assert aliases(client) == {"candidate": "1"}


@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize(("verdict", "word"), [("hold", "HOLD"), ("error", "ERROR")])
def test_a_new_verdict_is_stated_on_the_same_version(
    verdict: Verdict, word: str, client: MlflowClient, good: Submission
) -> None:
    register(good)
    promoted = versions(client)[0].tags["decision"]
    fallen = replace(good, decision=decided(verdict))
    assert register(fallen) == Outcome("1", created=False, champion="1")
    (version,) = versions(client)
    assert version.tags["gate"] == verdict
    assert version.tags["decision"] != promoted
    assert str(version.description).startswith(word)
    register(good)
    require_complete(client, good)


@pytest.mark.parametrize("lost", ["registered model", "version", "files", "logged model"])
def test_whatever_is_wiped_is_noticed_and_made_again(
    lost: str, client: MlflowClient, good: Submission, verified: list[str]
) -> None:
    register(good)
    (version,) = versions(client)
    if lost == "registered model":
        client.delete_registered_model(NAME)
    elif lost == "version":
        client.delete_model_version(NAME, "1")
    elif lost == "files":
        shutil.rmtree(client.get_logged_model(logged(version)).artifact_location)
    else:
        client.delete_logged_model(logged(version))
    again = register(good)
    assert again.created
    assert aliases(client) == {"candidate": again.version, "champion": again.version}
    assert not register(good).created
    assert len(verified) == 2


def test_what_was_changed_by_hand_is_set_right(
    client: MlflowClient, good: Submission, verified: list[str]
) -> None:
    register(good)
    client.set_model_version_tag(NAME, "1", "gate", "hold")
    client.delete_model_version_tag(NAME, "1", "verified")
    client.update_model_version(NAME, "1", "mine")
    client.delete_registered_model_alias(NAME, "candidate")
    client.delete_registered_model_alias(NAME, "champion")
    register(good)
    require_complete(client, good)
    assert len(verified) == 2


@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize(
    "moment",
    [
        "create_logged_model",
        "log_model_artifacts",
        "finalize_logged_model",
        "create_registered_model",
        "create_model_version",
        "set_logged_model_tags",
        "set_model_version_tag",
        "update_model_version",
        "set_registered_model_alias",
    ],
)
def test_a_process_killed_after_any_call_is_completed_by_the_next(
    moment: str, client: MlflowClient, good: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(MlflowClient, moment)

    def killed(*arguments: Any, **settings: Any) -> None:
        original(*arguments, **settings)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            register(good)
    assert register(good).version == "1"
    require_complete(client, good)


@pytest.mark.usefixtures("verified")
def test_a_version_whose_answer_was_lost_is_found(
    client: MlflowClient, good: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.create_model_version

    def lost(*arguments: Any, **settings: Any) -> None:
        original(*arguments, **settings)
        raise MlflowException("connection reset")

    monkeypatch.setattr(MlflowClient, "create_model_version", lost)
    assert register(good).version == "1"
    require_complete(client, good)


@pytest.mark.usefixtures("verified", "store")
def test_a_version_that_cannot_be_created_is_an_error(
    good: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_settings: Any) -> None:
        raise MlflowException("no space")

    monkeypatch.setattr(MlflowClient, "create_model_version", fail)
    with pytest.raises(MlflowException, match="no space"):
        register(good)


def test_a_package_that_was_damaged_never_becomes_a_version(
    client: MlflowClient, good: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.log_model_artifacts

    def damage(mlflow: MlflowClient, model_id: str, local_dir: str) -> None:
        with (Path(local_dir) / "artifacts/model/card.json").open("a") as card:
            card.write(" ")
        original(mlflow, model_id, local_dir)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", damage)
    with pytest.raises(ChangedInput, match="damaged"):
        register(good)
    assert versions(client) == []


@pytest.mark.usefixtures("store", "verified")
def test_a_champion_moved_at_the_same_moment_is_an_error(
    good: Submission, other: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(other)
    original = MlflowClient.set_registered_model_alias

    def beaten(mlflow: MlflowClient, name: str, alias: str, _version: str) -> None:
        original(mlflow, name, alias, "1")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", beaten)
    with pytest.raises(PipelineError, match="somebody else moved it"):
        register(good)
