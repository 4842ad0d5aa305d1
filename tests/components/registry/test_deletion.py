"""Weights that go, on a real MLflow store: what stays, interruptions and races."""

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from requests import HTTPError

from components.core.errors import PipelineError
from components.io import files, models
from components.register import champion as register_champion
from components.registry import (
    audit_log,
    champion,
    deletion,
    lock,
    promotion,
    versions,
)
from components.registry.audit_log import Event
from components.registry.champion import ChampionStatus
from components.registry.deletion import RegistryInconsistent
from components.registry.lock import Guard
from components.registry.retention import RetentionPolicy
from components.tracking.runs import open_run
from components.tracking.store import Store, open_store
from tests import processes, registry
from tests.local_store import LocalStore
from tests.registry import NAME

POLICY = RetentionPolicy(days=30, keep=1)
LATER = datetime.now(UTC) + timedelta(days=100)


def upload(store: Store, digest: str, name: str = NAME) -> str:
    """A logged model with two files, as register leaves one; its id."""
    tags = {"model": digest, versions.TARGET_MODEL: name}
    model = store.client.create_logged_model(store.experiment_id, name="model", tags=tags)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "artifacts").mkdir()
        (Path(folder) / "MLmodel").write_text("code")
        (Path(folder) / "artifacts" / "weights").write_text(f"weights of {digest}")
        store.client.log_model_artifacts(model.model_id, folder)
    return str(model.model_id)


def add(store: Store, digest: str, verdict: str = "passed", **facts: Any) -> str:
    return registry.add_version(store, digest, verdict, model_id=upload(store, digest), **facts)


def promote(store: Store, version: str, **facts: Any) -> None:
    promotion.promote(store, NAME, version, over=promotion.current_champion(store, NAME), **facts)


def stored(store: Store) -> dict[str, bool]:
    """Version -> whether all its files are there; half of them is neither."""
    found = {}
    for version in store.client.search_model_versions(f"name='{NAME}'"):
        whole = len(f"codeweights of {version.tags['model']}")
        size = deletion.size(store, champion.logged_model(version))
        assert size in (0, whole)
        found[str(version.version)] = size == whole
    return dict(sorted(found.items()))


def prune(store: Store, policy: RetentionPolicy = POLICY) -> dict[str, str]:
    """Package -> why it stayed after all, of all that should go."""
    plan = deletion.plan_deletion(store, NAME, policy, LATER)
    return {
        decision.model.version: deletion.delete(store, NAME, decision.model, policy, LATER)
        for decision in plan.decisions
        if not decision.reason
    }


def prune_all() -> None:
    with open_store() as store:
        prune(store)


def history(store: Store) -> list[tuple[str, str]]:
    return [(r.action, r.version) for r in audit_log.read(store, NAME).events]


@pytest.fixture
def five(opened: Store, local_store: LocalStore) -> Store:
    """Versions 1 to 5: three champions one after the other, one that waits, the newest."""

    def build() -> None:
        for digest in "abc":
            promote(opened, add(opened, digest))
        add(opened, "d", "blocked")
        add(opened, "e")

    local_store.set_up("five versions", build)
    return opened


def test_only_weights_that_nobody_needs_go(five: Store) -> None:
    before = {str(v.version): v for v in five.client.search_model_versions(f"name='{NAME}'")}
    log = audit_log.read(five, NAME)
    assert prune(five) == {"1": ""}
    assert stored(five) == {"1": False, "2": True, "3": True, "4": True, "5": True}
    pruned = five.client.get_model_version(NAME, "1")
    assert pruned.tags == {**before["1"].tags, "pruned": LATER.date().isoformat()}
    assert five.client.get_logged_model(champion.logged_model(pruned)).tags["model"] == "a"
    after = audit_log.read(five, NAME)
    assert after.events[:-1] == log.events
    last = after.events[-1]
    assert (last.action, last.version, last.model_digest) == ("pruned", "1", "a")
    assert last.reason == "older than 30 days, not among the newest 1"
    registry.require_consistent(five)
    assert prune(five) == {}
    assert audit_log.read(five, NAME) == after


def test_nothing_goes_before_its_time(five: Store) -> None:
    soon = datetime.now(UTC) + timedelta(days=29)
    plan = deletion.plan_deletion(five, NAME, POLICY, soon)
    assert [decision.model.version for decision in plan.decisions if not decision.reason] == []


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_nothing_goes_while_an_alias_contradicts_the_audit_log(alias: str, five: Store) -> None:
    five.client.set_registered_model_alias(NAME, alias, "5")
    before = history(five)
    with pytest.raises(
        RegistryInconsistent, match=f"nothing is pruned, because `{alias}` was moved by hand"
    ):
        prune(five)
    assert (history(five), all(stored(five).values())) == (before, True)


def test_nothing_goes_while_a_promotion_is_under_way(five: Store) -> None:
    event = Event(action="promotion_started", version="5", model_digest="e", champion="3")
    audit_log.append(five, audit_log.read(five, NAME), event)
    with pytest.raises(RegistryInconsistent, match="the promotion of version 5 has not ended"):
        prune(five)
    assert all(stored(five).values())


def test_a_model_that_does_not_exist_is_an_error(opened: Store) -> None:
    with pytest.raises(PipelineError, match="there is no registered model cells with an audit log"):
        prune(opened)


def test_a_version_whose_files_another_model_uses_stays(five: Store) -> None:
    five.client.create_registered_model("others")
    five.client.copy_model_version(f"models:/{NAME}/1", "others")
    assert prune(five) == {}
    assert stored(five)["1"]
    reason = deletion.plan_deletion(five, NAME, POLICY, LATER).decisions[0].reason
    assert reason == "version 1 of others uses its files"


def test_a_version_that_somebody_made_by_hand_stays(five: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    five.client.create_model_version(NAME, str(tmp_path / "mine"))
    add(five, "f")
    assert prune(five) == {"1": "", "5": ""}
    assert (tmp_path / "mine").exists()


def test_of_uploads_without_a_version_only_those_for_this_model_go(
    five: Store, local_store: LocalStore
) -> None:
    client = five.client
    mine, others = upload(five, "x"), upload(five, "y", "others")
    bare = client.create_logged_model(five.experiment_id, name="by hand").model_id
    used = upload(five, "z")
    client.create_registered_model("elsewhere")
    client.create_model_version("elsewhere", f"models:/{used}", model_id=used)
    assert prune(five) == {"1": "", "": ""}
    with pytest.raises(MlflowException, match="not found"):
        client.get_logged_model(mine)
    assert deletion.size(five, mine) == 0
    assert [path for path in local_store.folder.rglob("weights") if mine in path.parts] == []
    assert deletion.size(five, others) == deletion.size(five, used) == len("codeweights of x")
    assert client.get_logged_model(bare).status


def test_an_alias_that_appears_behind_the_record_saves_the_files(
    five: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.set_model_version_tag

    def tag(client: MlflowClient, *arguments: Any) -> None:
        original(client, *arguments)
        client.set_registered_model_alias(NAME, "mine", "1")

    monkeypatch.setattr(MlflowClient, "set_model_version_tag", tag)
    assert prune(five) == {"1": "`mine` names it"}
    assert stored(five)["1"]
    assert prune(five) == {}
    five.client.delete_registered_model_alias(NAME, "mine")
    assert prune(five) == {"1": ""}
    assert not stored(five)["1"]


def test_a_user_who_may_not_delete_is_told_which_right_is_missing(
    five: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise HTTPError("403 Client Error: FORBIDDEN")

    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "delete_artifacts", refuse)
        with pytest.raises(PipelineError, match=r"403 .* grant it MANAGE on `logged_model`"):
            prune(five)
    assert prune(five) == {"1": ""}
    assert history(five).count(("pruned", "1")) == 1


def delete_half(repository: LocalArtifactRepository, _path: str | None = None) -> None:
    (Path(repository.artifact_dir) / "artifacts" / "weights").unlink()
    os.kill(os.getpid(), signal.SIGKILL)


def prune_half() -> None:
    LocalArtifactRepository.delete_artifacts = delete_half  # type: ignore[method-assign]
    prune_all()


@pytest.mark.slow
def test_a_deletion_killed_behind_any_call_is_finished_by_the_next(five: Store) -> None:
    points = []
    for number in range(1, 9):
        version, fresh = add(five, f"old {number}"), add(five, f"new {number}")
        orphan = upload(five, "x")
        killed = processes.killed_once(number, "after", prune_all)
        assert ("pruned", version) in history(five) or stored(five)[version]
        prune(five)
        found = stored(five)
        assert [found[v] for v in (version, fresh, "2", "3")] == [False, True, True, True]
        assert history(five).count(("pruned", version)) == 1
        assert deletion.size(five, orphan) == 0
        registry.require_consistent(five)
        if not killed:
            break
        points.append(number)
    assert points == [1, 2, 3, 4, 5]  # record, tag; of the next version; the upload


def test_a_deletion_killed_between_two_files_is_finished_by_the_next(five: Store) -> None:
    process = processes.start(prune_half)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    version = five.client.get_model_version(NAME, "1")
    assert deletion.size(five, champion.logged_model(version)) == len("code")
    with pytest.raises(PipelineError, match="version 1 cannot become champion: its weights were"):
        promote(five, "1", trigger="rolled_back")
    assert prune(five) == {"1": ""}
    assert deletion.size(five, champion.logged_model(version)) == 0


def test_a_champion_evaluated_again_is_not_compared_before_one_whose_weights_are_gone(
    opened: Store,
) -> None:
    promote(opened, add(opened, "a"))
    promote(opened, add(opened, "b", champion="1", champion_digest="a"))
    assert register_champion._compared_before(opened, NAME, "b") == ChampionStatus(
        "1", "a", run_id="None"
    )
    for digest in "cd":
        promote(opened, add(opened, digest))
    assert prune(opened, RetentionPolicy(days=30, keep=3)) == {"1": ""}
    promote(opened, "2", trigger="rolled_back")
    assert register_champion._compared_before(opened, NAME, "b") is None


@contextmanager
def no_lock(store: Store, name: str, *, seconds: float = 0) -> Iterator[Guard]:
    yield Guard(exclusive=False)


def test_a_rollback_that_comes_first_saves_its_version(
    five: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "held", no_lock)
    original = deletion._pruned

    def race(*arguments: Any) -> Event:
        monkeypatch.setattr(deletion, "_pruned", original)
        promote(five, "1", trigger="rolled_back")
        return original(*arguments)

    monkeypatch.setattr(deletion, "_pruned", race)
    assert prune(five) == {"1": "`champion` names it"}
    assert stored(five)["1"]
    assert ("pruned", "1") not in history(five)
    assert registry.require_consistent(five)[-1].version == "1"


def test_a_rollback_that_comes_second_is_refused(
    five: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "held", no_lock)
    original = promotion._promotion_started

    def race(*arguments: Any) -> Event:
        monkeypatch.setattr(promotion, "_promotion_started", original)
        found = original(*arguments)
        assert prune(five) == {"1": ""}
        return found

    monkeypatch.setattr(promotion, "_promotion_started", race)
    with pytest.raises(PipelineError, match="cannot become champion: its weights were pruned on"):
        promote(five, "1", trigger="rolled_back")
    assert not stored(five)["1"]
    assert registry.require_consistent(five)[-1].version == "3"


def free(locked: bool) -> None:
    """In a process of its own: as on a server without locks."""
    if not locked:
        lock.held = no_lock
        promotion._POLL_SECONDS = 0.01


def promote_some(locked: bool, until: float) -> None:
    free(locked)
    with open_store() as store:
        while time.monotonic() < until:
            with suppress(PipelineError):
                promote(store, random.choice("123456"), trigger="rolled_back")


def prune_until(locked: bool, until: float) -> None:
    free(locked)
    with open_store() as store:
        while time.monotonic() < until:
            with suppress(RegistryInconsistent):
                prune(store)


def require_weights(store: Store) -> None:
    """Champion and previous have them, and nobody is promoted who lost them."""
    log, whole = audit_log.read(store, NAME), stored(store)
    assert all(whole[version] for version in champion.expected_aliases(log).values())
    gone: set[str] = set()
    for record in log.events:
        if record.action == "pruned":
            gone.add(record.version)
        assert record.action != "promotion_completed" or record.version not in gone
    assert gone == {version for version, there in whole.items() if not there}


@pytest.mark.slow
@pytest.mark.parametrize("locked", [True, False])
def test_rollbacks_that_race_with_deletions_leave_no_champion_without_weights(
    locked: bool, opened: Store
) -> None:
    for digest in "abcdef":
        promote(opened, add(opened, digest))
    until = time.monotonic() + 6
    racers = [processes.start(act, locked, until) for act in (promote_some, prune_until)]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    require_weights(opened)


def test_a_champion_without_weights_would_be_noticed(five: Store) -> None:
    found = five.client.get_model_version(NAME, "3")
    deletion._repository(five, champion.logged_model(found)).delete_artifacts()  # type: ignore[no-untyped-call]
    with pytest.raises(AssertionError):
        require_weights(five)


def test_a_model_whose_deletion_has_started_is_registered_as_a_new_version(
    opened: Store, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "verify", lambda *_: None)
    digest = files.digest_folder(small_model)
    decision = registry.write_decision(tmp_path / "decision.json", digest)

    def register() -> versions.Version:
        with open_run(kind="model", name="n", key="k") as run:
            version = versions.ensure_version(
                run,
                name=NAME,
                folder=small_model,
                digest=digest,
                card=models.load_card(small_model),
                test_digest="t" * 64,
            )
            versions.record_decision(run, version, decision=decision, description="PASS")
            return version

    first = register()
    assert versions.download_model(opened, NAME, first.number, tmp_path).is_dir()
    for other in "bc":
        promote(opened, add(opened, other))
    opened.client.set_registered_model_alias(NAME, "candidate", "3")
    monkeypatch.setattr(deletion, "_delete_files", lambda *_: "")  # as if killed there
    assert prune(opened) == {"1": ""}
    assert deletion.size(opened, champion.logged_model(opened.client.get_model_version(NAME, "1")))
    with pytest.raises(PipelineError, match="version 1 cannot be used: its weights were pruned on"):
        versions.download_model(opened, NAME, "1", tmp_path)
    with (
        open_run(kind="model", name="n", key="k") as run,
        pytest.raises(PipelineError, match="version 1 cannot be used"),
    ):
        versions.record_decision(run, first, decision=decision, description="PASS")
    second = register()
    assert (second.number, second.created) == ("4", True)
    assert versions.download_model(opened, NAME, "4", tmp_path).is_dir()
