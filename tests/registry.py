"""Versions as register leaves them, on a real MLflow store."""

from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import PipelineError
from components.core.evaluation.predictions import Predictions
from components.core.gate.decide import measure_accuracy
from components.core.gate.record import Accuracy
from components.io import files
from components.io.data import predictions as predictions_file
from components.registry import audit_log, champion, lock, promotion
from components.registry.audit_log import Event, LoggedEvent
from components.tracking.store import Store
from tests import factories

NAME = "cells"
CLASSES = ["bad", "good"]

_STATUS = {"passed": "pass", "blocked": "fail", "error": "error"}


def add_version(
    store: Store,
    digest: str,
    verdict: Any = "passed",
    run_id: str | None = None,
    model_id: str = "",
    **facts: Any,
) -> str:
    """A version that looks verified, with a verdict in the audit log; its number.

    It has no files unless `model_id` has.
    """
    number = _create_version(store, digest, run_id, model_id)
    _append_evaluated(store, number, digest, verdict, **facts)
    return number


def _create_version(store: Store, digest: str, run_id: str | None, model_id: str = "") -> str:
    audit_log.ensure(store, NAME)
    client = store.client
    if not model_id:
        model_id = client.create_logged_model(store.experiment_id, name="model").model_id
    tags = {"model": digest, "verified": digest}
    source = f"models:/{model_id}"
    version = client.create_model_version(NAME, source, run_id, tags=tags, model_id=model_id)
    return str(version.version)


def _append_evaluated(store: Store, number: str, digest: str, verdict: Any, **facts: Any) -> None:
    event = Event(action="evaluated", version=number, model_digest=digest, verdict=verdict, **facts)
    with lock.held(store, NAME):
        audit_log.append(store, audit_log.read(store, NAME), event)


def write_decision(
    path: Path,
    model_digest: str,
    verdict: str = "passed",
    champion_digest: str = "",
    version: str | None = None,
    accuracy: Accuracy | None = None,
    **facts: Any,
) -> Path:
    """A decision.json with one check that gives this verdict; `facts` are of the evidence."""
    check = factories.check(
        "accuracy", _STATUS[verdict], value=0.5, threshold=">= 0.7", message="because"
    )
    compared = factories.champion_evidence("compared", model_digest=champion_digest)
    evidence = factories.evidence(
        model_digest=model_digest,
        data_digest="d" * 64,
        test_digest="t" * 64,
        champion=compared if champion_digest else factories.champion_evidence(),
    )
    record = factories.decision_record(
        outcome=factories.outcome(
            verdict, first_model=not champion_digest, checks=[check], accuracy=accuracy
        ),
        evidence=evidence.model_copy(update=facts),
        version=version,
    )
    files.write_artifact(path, record)
    return path


def add_evaluated(store: Store, folder: Path, digest: str, verdict: Any) -> str:
    """A version as register leaves it: evidence with its run, verdict, `candidate`; its number."""
    place = folder / f"evidence of {digest}"
    place.mkdir()
    current = promotion.current_champion(store, NAME)
    model, other = _predictions([True, True, False, False]), _predictions([False, True, True, True])
    files.write_bytes(place / "predictions.parquet", predictions_file.to_parquet(model))
    evaluation = factories.evaluation(
        model,
        model_digest=digest,
        predictions_sha256=files.digest_file(place / "predictions.parquet"),
    )
    files.write_artifact(place / "evaluation.json", evaluation)
    compared = factories.champion_evidence()
    if current.model_digest:
        files.write_bytes(place / "champion.parquet", predictions_file.to_parquet(other))
        compared = factories.champion_evidence(
            "compared",
            model_digest=current.model_digest,
            predictions_sha256=files.digest_file(place / "champion.parquet"),
        )
    run = store.client.create_run(store.experiment_id)
    number = _create_version(store, digest, run.info.run_id)
    decision = write_decision(
        place / "decision.json",
        digest,
        verdict,
        version=number,
        accuracy=measure_accuracy(model),
        predictions_sha256=evaluation.predictions_sha256,
        evaluation_sha256=files.digest_file(place / "evaluation.json"),
        champion=compared,
    )
    store.client.log_artifacts(run.info.run_id, str(place), "register")
    sha256 = files.digest_file(decision)
    _append_evaluated(store, number, digest, verdict, decision_sha256=sha256)
    store.client.update_model_version(NAME, number, f"{verdict} 0.500 accuracy\n\nmore")
    store.client.set_registered_model_alias(NAME, champion.CANDIDATE, number)
    return number


def _predictions(correct: list[bool]) -> Predictions:
    """Of images of the class good."""
    predicted = np.array(correct, dtype=np.int64)
    return Predictions(
        class_names=CLASSES,
        paths=[f"good/{k}.png" for k in range(len(correct))],
        groups=[str(k) for k in range(len(correct))],
        labels=np.ones(len(correct), dtype=np.int64),
        predicted=predicted,
        probabilities=np.where(np.eye(2)[predicted] > 0, 0.9, 0.1),
    )


def add_promoted(store: Store, folder: Path, digest: str) -> str:
    """A version that passed and is champion now; its number."""
    number = add_evaluated(store, folder, digest, "passed")
    promotion.promote(store, NAME, number, over=promotion.current_champion(store, NAME))
    return number


def champion_version(store: Store) -> str | None:
    """The champion, on which alias and audit log agree."""
    alias = champion.aliases(store, NAME).get(champion.CHAMPION)
    status, _ = champion.read_champion(store, NAME)
    assert (status.version, status.problem) == (alias, "")
    return status.version


def events(store: Store, name: str = NAME) -> list[tuple[str, str]]:
    """Action and version of each event."""
    return [(event.action, event.version) for event in audit_log.read(store, name).events]


def require_consistent(store: Store, name: str = NAME) -> list[LoggedEvent]:
    """Raise unless audit log, aliases and versions fit together; return the promotions."""
    log = audit_log.read(store, name)
    assert log.pending is None
    before, digest = "", ""
    for event in log.promotions:
        assert (event.champion, event.champion_digest) == (before, digest), "a lost update"
        before, digest = event.version, event.model_digest
    versions = store.client.search_model_versions(f"name='{name}'")
    digests = [version.tags["model"] for version in versions]
    assert len(digests) == len(set(digests)), "two versions of one model"
    found = champion.aliases(store, name)
    for alias, version in champion.expected_aliases(log).items():
        assert found[alias] == version
    if log.promotions:
        status, _ = champion.read_champion(store, name)
        assert (status.version, status.model_digest, status.problem) == (before, digest, "")
    try:
        promotion.current_champion(store, name)
    except PipelineError as error:
        raise AssertionError(str(error)) from error
    return log.promotions
