"""Processes that register and promote, and that are killed while they do it."""

import functools
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.io import files, models
from components.registry import audit_log, promotion, verification, versions
from components.registry.audit_log import AuditLogChanged, Event
from components.tracking.runs import open_run
from components.tracking.store import open_store
from tests.registry import NAME

_WRITES = ("create_", "set_", "log_", "update_", "delete_", "finalize_")

# Its children begin with everything imported, but without an open database.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "mlflow.pyfunc",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.tracking.client",
        "tests.local_store",
        "tests.processes",
    ]
)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def start(action: Callable[..., None], *arguments: object) -> Any:
    """A process that runs the action with the MLflow store of this process's environment."""
    environment = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_")}
    process = CONTEXT.Process(target=_run, args=(environment, action, arguments))
    process.start()
    return process


def _run(
    environment: dict[str, str], action: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    os.environ.update(environment)
    os.environ["OMP_NUM_THREADS"] = "1"
    # A shell that starts the tests in the background makes them, and all they start, deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
            returned = method(*args, **settings)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return returned

        return call

    for name in dir(MlflowClient):
        if name.startswith(_WRITES):
            setattr(MlflowClient, name, trapped(getattr(MlflowClient, name)))
    action(*arguments)


def promote(version: str) -> None:
    """One promotion over whoever is champion."""
    with open_store() as store:
        over = promotion.current_champion(store, NAME)
        promotion.promote(store, NAME, version, over=over)


def promote_many(first: str, second: str, times: int, losses: Any) -> None:
    """Make first and second champion in turn, `times` times; count the races that were lost."""
    with open_store() as store:
        for turn in range(times):
            version = (first, second)[turn % 2]
            while True:
                over = promotion.current_champion(store, NAME)
                time.sleep(random.uniform(0, 0.02))  # comparing takes a while
                try:
                    promotion.promote(store, NAME, version, over=over)
                    break
                except promotion.ChampionChanged:
                    with losses.get_lock():
                        losses.value += 1


def register(folder: str, decision: str) -> None:
    """From the upload to the alias, as the step does it.

    The package is read back and its bytes are compared; its predictions, which take seconds, not.
    """
    verification._require_same_predictions = lambda *_: None
    model = Path(folder)
    with open_run(kind="model", name="n", key="k") as run:
        version = versions.ensure_version(
            run,
            name=NAME,
            folder=model,
            digest=files.digest_folder(model),
            card=models.load_card(model),
            test_digest="t" * 64,
        )
        versions.record_decision(run, version, decision=Path(decision), description="passed")
        over = promotion.current_champion(run.store, NAME)
        promotion.promote(run.store, NAME, version.number, over=over)


def append_many(times: int, losses: Any) -> None:
    """Write events as fast as possible, without a lock."""
    with open_store() as store:
        for turn in range(times):
            while True:
                log = audit_log.read(store, NAME)
                event = Event(action="evaluated", version=str(turn), model_digest=str(os.getpid()))
                try:
                    audit_log.append(store, log, event)
                    break
                except AuditLogChanged:
                    with losses.get_lock():
                        losses.value += 1
