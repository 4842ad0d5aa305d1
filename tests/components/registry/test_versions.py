import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from components.core.errors import ChangedInput, PipelineError
from components.core.gate.policy import Verdict
from components.io import files, models
from components.registry import (
    audit_log,
    champion,
    lock,
    promotion,
    versions,
)
from components.registry.versions import Version
from components.tracking.runs import Run, open_run
from components.tracking.store import open_store
from tests import processes, registry
from tests.registry import NAME


@dataclass(frozen=True)
class Model:
    """A model folder with the verdict that it shall get."""

    folder: Path
    decision: Path
    verdict: Verdict = "passed"

    @property
    def digest(self) -> str:
        return files.digest_folder(self.folder)


@pytest.fixture
def good(small_model: Path, tmp_path: Path) -> Model:
    return Model(small_model, tmp_path / "decision.json")


@pytest.fixture
def other(good: Model, tmp_path: Path) -> Model:
    """Another model of the same name: one file more in its folder."""
    folder = Path(shutil.copytree(good.folder, tmp_path / "other/model"))
    (folder / "notes.txt").write_text("retrained")
    return replace(good, folder=folder, verdict="blocked")


@pytest.fixture
def client(store: str) -> MlflowClient:
    return MlflowClient(store)


def ensure(run: Run, model: Model) -> Version:
    return versions.ensure_version(
        run,
        name=NAME,
        folder=model.folder,
        digest=model.digest,
        card=models.load_card(model.folder),
        test_digest="t" * 64,
    )


def register(model: Model) -> Version:
    """What the step does: version, verdict, promotion."""
    with open_run(kind="model", name="n", key="k") as run:
        version = ensure(run, model)
        over = promotion.current_champion(run.store, NAME)
        compared = over.model_digest if over.model_digest != model.digest else ""
        registry.write_decision(model.decision, model.digest, model.verdict, compared)
        description = f"{model.verdict} 0.778"
        versions.record_decision(run, version, decision=model.decision, description=description)
        if model.verdict == "passed":
            promotion.promote(run.store, NAME, version.number, over=over)
        return version


def aliases(client: MlflowClient) -> dict[str, str]:
    return {k: str(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def stored_versions(client: MlflowClient) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name='{NAME}'"))


def logged(version: ModelVersion) -> str:
    return str(version.source).removeprefix("models:/")


def require_complete(client: MlflowClient, model: Model) -> None:
    """One version with everything on it, both aliases, and a consistent audit log."""
    (version,) = stored_versions(client)
    assert version.tags["model"] == version.tags["verified"] == model.digest
    assert version.tags["data"] == models.load_card(model.folder).data_digest
    assert version.tags["test"] == "t" * 64
    assert version.tags["gate"] == "passed"
    assert version.tags["decision"] == files.digest_file(model.decision)
    assert version.description == "passed 0.778"
    number = str(version.version)
    assert aliases(client) == {"candidate": number, "champion": number}
    tags = client.get_run(str(version.run_id)).data.tags
    assert tags["gate"] == "passed"
    assert tags["version"] == f"{NAME}/{number}"
    with open_store() as store:
        assert registry.require_consistent(store)[-1].version == number


@pytest.mark.usefixtures("verified")
def test_a_good_model_becomes_a_version_with_everything_on_it(
    client: MlflowClient, good: Model
) -> None:
    version = register(good)
    assert (version.number, version.created) == ("1", True)
    require_complete(client, good)
    assert len(client.get_model_version(NAME, "1").tags["package"]) == 64


@pytest.mark.row("P03")
def test_registering_again_changes_nothing(
    client: MlflowClient, good: Model, verified: list[str]
) -> None:
    register(good)
    before = stored_versions(client)[0].last_updated_timestamp
    with open_store() as store:
        head = audit_log.read(store, NAME).head
        assert not register(good).created
        assert audit_log.read(store, NAME).head == head
    assert stored_versions(client)[0].last_updated_timestamp == before
    assert len(verified) == 1


@pytest.mark.usefixtures("verified")
def test_a_blocked_model_is_candidate_and_recorded_too(
    client: MlflowClient, good: Model, other: Model
) -> None:
    register(good)
    assert register(other).number == "2"
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    with open_store() as store:
        last = audit_log.read(store, NAME).events[-1]
    assert (last.action, last.version, last.verdict) == ("evaluated", "2", "blocked")
    assert (last.champion, last.champion_digest) == ("1", good.digest)
    assert (last.model_digest, last.decision_sha256) == (
        other.digest,
        files.digest_file(other.decision),
    )
    assert (last.data_digest, last.test_digest) == ("d" * 64, "t" * 64)
    assert last.checks == {"accuracy": (0.5, ">= 0.7", "fail")}
    assert last.reason == "because"


@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize("verdict", ["blocked", "error"])
def test_a_new_verdict_is_stated_on_the_same_version(
    verdict: Verdict, client: MlflowClient, good: Model
) -> None:
    register(good)
    assert not register(replace(good, verdict=verdict)).created
    (version,) = stored_versions(client)
    assert version.tags["gate"] == verdict
    assert str(version.description).startswith(verdict)
    assert aliases(client) == {"candidate": "1", "champion": "1"}
    register(good)
    require_complete(client, good)


@pytest.mark.parametrize("lost", ["registered model", "version", "files", "logged model"])
def test_whatever_is_wiped_is_noticed_and_made_again(
    lost: str, client: MlflowClient, good: Model, verified: list[str]
) -> None:
    register(good)
    (version,) = stored_versions(client)
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
    assert aliases(client).items() >= {"candidate": again.number, "champion": again.number}.items()
    assert not register(good).created
    assert len(verified) == 2


def test_what_was_changed_by_hand_is_set_right(
    client: MlflowClient, good: Model, verified: list[str]
) -> None:
    register(good)
    client.set_model_version_tag(NAME, "1", "gate", "blocked")
    client.delete_model_version_tag(NAME, "1", "verified")
    client.update_model_version(NAME, "1", "mine")
    client.delete_registered_model_alias(NAME, "candidate")
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
        "log_param",
        "set_registered_model_alias",
    ],
)
def test_a_process_stopped_after_any_call_is_completed_by_the_next(
    moment: str, client: MlflowClient, good: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(MlflowClient, moment)

    def stopped(*arguments: Any, **settings: Any) -> None:
        original(*arguments, **settings)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, moment, stopped)
        with pytest.raises(KeyboardInterrupt):
            register(good)
    assert register(good).number == "1"
    require_complete(client, good)


@pytest.mark.row("N04")
@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize("call", ["create_model_version", "create_registered_model", "log_param"])
def test_a_call_whose_answer_was_lost_counts_once(
    call: str, client: MlflowClient, good: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = getattr(MlflowClient, call)

    def lost(*arguments: Any, **settings: Any) -> None:
        original(*arguments, **settings)
        raise MlflowException("connection reset")

    monkeypatch.setattr(MlflowClient, call, lost)
    assert register(good).number == "1"
    require_complete(client, good)
    with open_store() as store:
        events = audit_log.read(store, NAME).events
    assert [event.action for event in events] == [
        "evaluated",
        "promotion_started",
        "promotion_completed",
    ]


@pytest.mark.usefixtures("verified", "store")
def test_a_version_that_cannot_be_created_is_an_error(
    good: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_settings: Any) -> None:
        raise MlflowException("no space")

    monkeypatch.setattr(MlflowClient, "create_model_version", fail)
    with pytest.raises(PipelineError, match="no space"):
        register(good)


@pytest.mark.row("N05")
@pytest.mark.parametrize("file", ["artifacts/model/card.json", "code/components/io/models.py"])
def test_a_package_that_was_damaged_never_becomes_a_version(
    file: str, client: MlflowClient, good: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.log_model_artifacts

    def damage(mlflow: MlflowClient, model_id: str, local_dir: str) -> None:
        with (Path(local_dir) / file).open("a") as damaged:
            damaged.write(" ")
        original(mlflow, model_id, local_dir)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", damage)
    with pytest.raises(ChangedInput, match=r"damaged it|not what was uploaded"):
        register(good)
    assert stored_versions(client) == []


@pytest.mark.usefixtures("verified", "store")
def test_the_model_folder_comes_back_as_it_was_stored(good: Model, tmp_path: Path) -> None:
    register(good)
    with open_store() as store:
        folder = versions.download_model(store, NAME, "1", tmp_path / "fetched")
    assert files.digest_folder(folder) == good.digest


@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize("how", ["a byte", "the tag", "the files", "the version"])
def test_a_stored_model_that_was_changed_is_not_fetched(
    how: str, client: MlflowClient, good: Model, tmp_path: Path
) -> None:
    register(good)
    (version,) = stored_versions(client)
    stored = Path(client.get_logged_model(logged(version)).artifact_location)
    if how == "a byte":
        (stored / "artifacts/model/card.json").write_text("{}")
    elif how == "the tag":
        client.set_model_version_tag(NAME, "1", "model", "x" * 64)
    elif how == "the files":
        shutil.rmtree(stored)
    else:
        client.delete_model_version(NAME, "1")
    with open_store() as store, pytest.raises(ChangedInput):
        versions.download_model(store, NAME, "1", tmp_path / "fetched")


@pytest.mark.usefixtures("verified")
def test_without_a_lock_the_slower_of_two_keeps_the_version_of_the_faster(
    client: MlflowClient, good: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def unlocked(_store: object, _name: str) -> Iterator[lock.Guard]:
        yield lock.Guard(exclusive=False)

    monkeypatch.setattr(lock, "held", unlocked)
    original = MlflowClient.create_model_version
    entered: list[int] = []

    def both(mlflow: MlflowClient, *arguments: Any, **settings: Any) -> ModelVersion:
        if not entered:
            entered.append(1)
            original(mlflow, *arguments, **settings)
        return original(mlflow, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", both)
        assert register(good).number == "1"
    assert [str(version.version) for version in stored_versions(client)] == ["1"]
    assert aliases(client)["champion"] == "1"
    assert champion.CANDIDATE in aliases(client)


@pytest.mark.row("P04")
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_registration_survives_being_killed_around_every_call(
    client: MlflowClient, good: Model
) -> None:
    registry.write_decision(good.decision, good.digest)
    arguments = (processes.register, str(good.folder), str(good.decision))
    killed = 0
    for number in range(1, 40):
        for moment in ("before", "after"):
            died = processes.killed_once(number, moment, *arguments)
            killed += died
            again = processes.start(*arguments)
            again.join()
            assert again.exitcode == 0
            with open_store() as store:
                assert len(registry.require_consistent(store)) == 1
                assert len(stored_versions(client)) == 1
            client.delete_registered_model(NAME)
        if not died:
            break
    print(f"{killed} processes killed")
    assert killed >= 30


@pytest.mark.slow
def test_two_processes_that_register_one_model_at_once_make_one_version(
    client: MlflowClient, good: Model
) -> None:
    registry.write_decision(good.decision, good.digest)
    arguments = (processes.register, str(good.folder), str(good.decision))
    racers = [processes.start(*arguments) for _ in range(2)]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    assert [str(version.version) for version in stored_versions(client)] == ["1"]
    with open_store() as store:
        assert len(registry.require_consistent(store)) == 1
        events = audit_log.read(store, NAME).events
    assert [event.action for event in events] == [
        "evaluated",
        "promotion_started",
        "promotion_completed",
    ]
