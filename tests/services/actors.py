"""Processes that register and promote, and that are killed while they do it."""

import functools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.core.artifacts import ModelCard
from components.core.data.data_diff import DataDiff
from components.core.errors import PipelineError
from components.core.gate.evidence import ChampionEvidence, Evidence
from components.core.gate.policy import GatePolicy, Verdict
from components.core.gate.record import Check, Decision, DecisionRecord
from components.io import files, models
from components.registry import (
    audit_log as journal,
)
from components.registry import (
    champion as seats,
)
from components.registry import (
    lock,
    promotion,
    verification,
)
from components.registry import (
    versions as registry,
)
from components.registry.audit_log import Event
from components.tracking.runs import open_run
from components.tracking.store import Store, open_store

NAME = "cells"

_WRITES = ("create_", "set_", "log_", "update_", "delete_", "finalize_")

# Its children begin with everything imported, but without an open database.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mlflow.tracking.client", "mlflow.pyfunc", "tests.services.actors"])


def add_version(
    store: Store,
    digest: str,
    verdict: str = "promote",
    run_id: str | None = None,
    model_id: str = "",
    **facts: Any,
) -> str:
    """A version that looks verified, with a verdict in the journal; its number.

    It has no files unless `model_id` has.
    """
    journal.ensure(store, NAME)
    client = store.client
    if not model_id:
        model_id = client.create_logged_model(store.experiment_id, name="model").model_id
    tags = {"model": digest, "verified": digest}
    source = f"models:/{model_id}"
    version = client.create_model_version(NAME, source, run_id, tags=tags, model_id=model_id)
    number = str(version.version)
    entry = Event(action="decided", version=number, model_digest=digest, verdict=verdict, **facts)
    with lock.held(store, NAME):
        journal.append(store, journal.read(store, NAME), entry)
    return number


def write_receipt(
    path: Path,
    model_digest: str,
    verdict: Verdict = "promote",
    champion_digest: str = "",
    **facts: Any,
) -> Path:
    """A decision.json with one check of that verdict."""
    check = Check(name="accuracy", value=0.5, wanted=">= 0.7", verdict=verdict, reason="because")
    policy = GatePolicy(
        confidence=0.95,
        min_accuracy=0.7,
        min_macro_f1=0.6,
        min_class_recall=0.5,
        min_test_images=200,
        min_test_images_per_class=20,
        max_ece=None,
        max_accuracy=None,
        max_model_mb=None,
        max_latency_ms=None,
        champion_test="non_inferior",
        margin=0.02,
        max_class_recall_drop=0.1,
        max_accuracy_gain=None,
        max_test_set_uses=10,
    )
    evidence = Evidence(
        class_names=["good cell", "bad|cell"],
        model_digest=model_digest,
        data_digest="d" * 64,
        test_digest="t" * 64,
        evaluation_sha256="e" * 64,
        predictions_sha256="p" * 64,
        model_bytes=1,
        latency_p95_ms=None,
        previous_test_uses=0,
        leaked_test_images=0,
        revoked_reason="",
        champion=ChampionEvidence(
            state="compared" if champion_digest else "none",
            model_digest=champion_digest,
            predictions_sha256="",
            reason="",
        ),
    )
    diff = DataDiff(
        baseline="",
        unchanged=0,
        added=0,
        removed=0,
        relabeled=0,
        moved=0,
        largest_shift=None,
        examples={},
    )
    receipt = DecisionRecord(
        decision=Decision(verdict=verdict, first_model=not champion_digest, checks=[check]),
        policy=policy,
        evidence=evidence.model_copy(update=facts),
        data_diff=diff,
        model_name=NAME,
        version=None,
    )
    files.write_artifact(path, receipt)
    return path


def start(action: Callable[..., None], *arguments: object) -> Any:
    """A process that runs the action with the MLflow store of this process's environment."""
    environment = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_")}
    process = CONTEXT.Process(target=_act, args=(environment, action, arguments))
    process.start()
    return process


def _act(
    environment: dict[str, str], action: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    os.environ.update(environment)
    os.environ["OMP_NUM_THREADS"] = "1"
    action(*arguments)


def killed_once(number: int, moment: str, action: Callable[..., None], *arguments: object) -> bool:
    """Whether the process died: before or after its call of that number."""
    process = start(_with_trap, number, moment, action, *arguments)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return bool(process.exitcode)


def _with_trap(number: int, moment: str, action: Callable[..., None], *arguments: object) -> None:
    from mlflow import MlflowClient

    calls = 0

    def trapped(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **settings: Any) -> Any:
            nonlocal calls
            calls += 1
            mine = calls == number
            if mine and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = method(*args, **settings)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    for name in dir(MlflowClient):
        if name.startswith(_WRITES):
            setattr(MlflowClient, name, trapped(getattr(MlflowClient, name)))
    action(*arguments)


def promote(version: str) -> None:
    """One promotion over whoever is champion."""
    with open_store() as store:
        seat = promotion.seat(store, NAME)
        promotion.promote(store, NAME, version, over=seat)


def promote_many(first: str, second: str, times: int, losses: Any) -> None:
    """Make first and second champion in turn, `times` times; count the races that were lost."""
    with open_store() as store:
        for turn in range(times):
            version = (first, second)[turn % 2]
            while True:
                seat = promotion.seat(store, NAME)
                time.sleep(random.uniform(0, 0.02))  # comparing takes a while
                try:
                    promotion.promote(store, NAME, version, over=seat)
                    break
                except promotion.ChampionChanged:
                    with losses.get_lock():
                        losses.value += 1


def register(folder: str, receipt: str) -> None:
    """From the upload to the alias, as the step does it.

    The package is read back and its bytes are compared; its answers, which take seconds, are not.
    """
    verification._require_same_answers = lambda *_: None
    model = Path(folder)
    card: ModelCard = models.load_card(model)
    with open_run(kind="model", name="n", key="k") as run:
        version = registry.ensure_version(
            run,
            name=NAME,
            folder=model,
            digest=files.digest_folder(model),
            card=card,
            test_digest="t" * 64,
        )
        registry.record_decision(run, version, receipt=Path(receipt), description="PASS")
        seat = promotion.seat(run.store, NAME)
        promotion.promote(run.store, NAME, version.number, over=seat)


def append_many(times: int, losses: Any) -> None:
    """Write records as fast as possible, without a lock."""
    with open_store() as store:
        for turn in range(times):
            while True:
                log = journal.read(store, NAME)
                entry = Event(action="decided", version=str(turn), model_digest=str(os.getpid()))
                try:
                    journal.append(store, log, entry)
                    break
                except journal.AuditLogMoved:
                    with losses.get_lock():
                        losses.value += 1


def require_sound(store: Store, name: str = NAME) -> list[journal.LoggedEvent]:
    """Raise unless journal, aliases and versions fit together; return the promotions."""
    log = journal.read(store, name)
    assert log.open is None
    moves = [record for record in log.records if record.action == "promoted"]
    before, digest = "", ""
    for move in moves:
        assert (move.champion, move.champion_digest) == (before, digest), "a lost update"
        before, digest = move.version, move.model_digest
    versions = store.client.search_model_versions(f"name='{name}'")
    digests = [version.tags["model"] for version in versions]
    assert len(digests) == len(set(digests)), "two versions of one model"
    shown = seats.aliases(store, name)
    for alias, version in seats.expected_aliases(log).items():
        assert shown[alias] == version
    if moves:
        seat, _ = seats.look(store, name)
        assert (seat.version, seat.model_digest, seat.fault) == (before, digest, "")
    try:
        promotion.seat(store, name)
    except PipelineError as error:
        raise AssertionError(str(error)) from error
    return moves
