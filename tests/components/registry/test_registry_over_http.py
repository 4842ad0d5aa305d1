import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.core.errors import ServiceUnavailable
from components.io import files, models
from components.registry import (
    audit_log,
    champion,
    deletion,
    promotion,
    verification,
    versions,
)
from components.registry.retention import RetentionPolicy
from components.tracking.runs import open_run
from components.tracking.server import require_reachable
from components.tracking.store import open_store
from tests import processes, registry
from tests.local_store import EMPTY, LocalStore
from tests.registry import NAME, add_version


@pytest.fixture(scope="module")
def server(local_store: LocalStore) -> Iterator[tuple[str, LocalStore]]:
    """A real MLflow server that keeps the artifacts to itself, with the store behind it."""
    behind = local_store.beside("server")
    behind.load(EMPTY)
    port = processes.free_port()
    place = [f"--artifacts-destination={behind.folder}/artifacts", "--workers=1", f"--port={port}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", f"--backend-store-uri={behind.uri}", *place],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(uri, process)
        yield uri, behind
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def served(server: tuple[str, LocalStore], monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's URI, set as the one to use; there is nothing in its store."""
    uri, behind = server
    behind.load(EMPTY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def wait_for(uri: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            return require_reachable(uri)
        except ServiceUnavailable:
            if time.monotonic() > deadline or process.poll() is not None:
                raise


def test_a_server_gets_one_version_that_was_read_back_through_it(
    served: str, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_require_same_predictions", lambda *_: None)
    digest = files.digest_folder(small_model)
    decision = registry.write_decision(tmp_path / "decision.json", digest)
    for created in (True, False):
        with open_run(kind="model", name="n", key="k") as run:
            version = versions.ensure_version(
                run,
                name=NAME,
                folder=small_model,
                digest=digest,
                card=models.load_card(small_model),
                test_digest="t" * 64,
            )
            assert (version.number, version.created) == ("1", created)
            versions.record_decision(run, version, decision=decision, description="passed")
            status = promotion.current_champion(run.store, NAME)
            assert promotion.promote(run.store, NAME, "1", over=status).version == "1"
            assert run.link == (
                f"{served}/#/experiments/{run.store.experiment_id}/runs/{run.id}"
                "?workflowType=machine_learning"
            )
            registry.require_consistent(run.store)
            events = audit_log.read(run.store, NAME).events
            assert [r.action for r in events] == [
                "evaluated",
                "promotion_started",
                "promotion_completed",
            ]
    (found,) = MlflowClient(served).search_model_versions(f"name='{NAME}'")
    assert found.tags["verified"] == digest
    assert found.run_id == run.id


@pytest.mark.usefixtures("served")
def test_weights_are_pruned_through_a_server(
    server: tuple[str, LocalStore], small_model: Path
) -> None:
    policy, later = RetentionPolicy(days=30, keep=1), datetime.now(UTC) + timedelta(days=100)
    with open_store() as store:
        client = store.client
        tags = {versions.TARGET_MODEL: NAME}
        uploads = [
            client.create_logged_model(store.experiment_id, name="model", tags=tags).model_id
            for _ in range(4)
        ]
        for upload in uploads:
            client.log_model_artifacts(upload, str(small_model))
        size = deletion.size(store, uploads[0])
        assert size == sum(path.stat().st_size for path in small_model.iterdir())
        for digest, upload in zip("abc", uploads, strict=False):
            number = add_version(store, digest, model_id=upload)
            promotion.promote(store, NAME, number, over=promotion.current_champion(store, NAME))
        going = [
            c.model
            for c in deletion.plan_deletion(store, NAME, policy, later).decisions
            if not c.reason
        ]
        assert [model.model_id for model in going] == [uploads[0], uploads[3]]
        for model in going:
            assert deletion.delete(store, NAME, model, policy, later) == ""
        assert [deletion.size(store, upload) for upload in uploads] == [0, size, size, 0]
        folders = {
            path.parent.parent.name for path in server[1].folder.rglob("weights.safetensors")
        }
        assert folders == set(uploads[1:3])
        assert client.get_model_version(NAME, "1").tags["pruned"] == later.date().isoformat()
        (first, *_) = deletion.plan_deletion(store, NAME, policy, later).decisions
        assert first.reason == "its weights are gone already"
        registry.require_consistent(store)


def promote_and_stop(version: str) -> None:
    """A promotion whose process is stopped just before it moves `champion`."""
    call = "set_registered_model_alias"
    original = getattr(MlflowClient, call)

    def stop(client: MlflowClient, name: str, alias: str, number: str) -> None:
        if alias == champion.CHAMPION:
            setattr(MlflowClient, call, original)
            os.kill(os.getpid(), signal.SIGSTOP)
        original(client, name, alias, number)

    setattr(MlflowClient, call, stop)
    processes.promote(version)


def wait_until_stopped(process: int) -> None:
    state = Path(f"/proc/{process}/stat")
    while (found := state.read_text().rpartition(")")[2].split()[0]) != "T":
        assert found != "Z", "it ended instead"
        time.sleep(0.05)


@pytest.mark.row("P06")
@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_promoter_that_sleeps_through_its_turn_undoes_its_late_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(promotion, "_PATIENCE_SECONDS", 2.0)
    with open_store() as store:
        first, second, third = (add_version(store, digest) for digest in "abc")
        promotion.promote(store, NAME, first, over=promotion.current_champion(store, NAME))
        sleeper = processes.start(promote_and_stop, second)
        wait_until_stopped(sleeper.pid)
        started = time.monotonic()
        status = promotion.current_champion(store, NAME)  # waits, then finishes the sleeper's move
        assert time.monotonic() - started > 2
        assert status.version == second
        promotion.promote(store, NAME, third, over=status)
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join()
        assert sleeper.exitcode == 1
        assert champion.aliases(store, NAME) == {"champion": third, "previous": second}
        moves = registry.require_consistent(store)
    assert [move.version for move in moves] == [first, second, third]


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_two_processes_that_race_without_a_lock_lose_no_promotion() -> None:
    with open_store() as store:
        versions = [add_version(store, digest) for digest in "abcd"]
        losses = processes.CONTEXT.Value("i", 0)
        pairs = (versions[:2], versions[2:])
        racers = [processes.start(processes.promote_many, *pair, 10, losses) for pair in pairs]
        for racer in racers:
            racer.join()
            assert racer.exitcode == 0
        moves = registry.require_consistent(store)
    print(f"{len(moves)} promotions, {losses.value} lost the race and compared again")
    assert len(moves) >= 10
