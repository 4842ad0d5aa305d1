"""Versions in the model registry: one per model folder, with the gate's verdict on it.

Everything may run again at any point: a version is found by the digest of its folder, a tag of the
very call that creates it, and whatever is missing behind it is done again.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import ModelCard
from components.core.errors import ChangedInput
from components.core.gate.record import Check, DecisionRecord
from components.io import files
from components.registry import (
    audit_log,
    champion,
    decided,
    lock,
    package,
    signature,
    verification,
)
from components.registry.audit_log import AuditLog, AuditLogChanged, Event
from components.registry.verification import verify
from components.tracking.runs import Run
from components.tracking.store import get_or_none

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from components.tracking.store import Store

# Tag of a logged model: the registered model that it was uploaded for.
TARGET_MODEL = "registered_model"

_THRESHOLD_CHARACTERS = 60


@dataclass(frozen=True)
class Version:
    """A registered model folder.

    Attributes:
        name: of the registered model.
        number: of the version.
        created: whether it is new.
        tags: as they were found or made.
    """

    name: str
    number: str
    created: bool
    tags: dict[str, str]


def ensure_version(
    run: Run, *, name: str, folder: Path, digest: str, card: ModelCard, test_digest: str
) -> Version:
    """Make sure that the model folder is a version whose stored package passed the smoke test.

    Args:
        run: that the model comes from.
        name: of the registered model.
        folder: weights and card.
        digest: of `folder`.
        card: of `folder`.
        test_digest: of the test set that it is evaluated on.

    Raises:
        ChangedInput: other bytes came back from the artifact store.
        PipelineError: the package does not work by itself.
    """
    found = _find(run.store, name, digest)
    created = found is None
    if found is None:
        model_id, package_digest = _upload(run, name, folder, digest, card)
        verify(run.store, model_id, digest, package_digest)
        tags = {"model": digest, "verified": digest, "package": package_digest}
        tags |= {"data": card.data_digest, "test": test_digest, **run.lineage}
        found = _create(run, name, model_id, tags)
    elif found.tags.get("verified") != digest:
        verify(run.store, champion.logged_model(found), digest, found.tags.get("package", ""))
        run.store.client.set_model_version_tag(name, str(found.version), "verified", digest)
    return Version(name, str(found.version), created, dict(found.tags))


def _find(store: Store, name: str, digest: str) -> ModelVersion | None:
    """The oldest version of this model folder whose files are still there, and will be."""
    query = f"name='{name}' AND tags.model='{digest}'"
    found, log = store.client.search_model_versions(query), audit_log.read(store, name)
    versions = [v for v in found if not champion.pruned_reason(log, str(v.version))]
    oldest_first = sorted(versions, key=lambda version: int(version.version))
    return next((version for version in oldest_first if _is_stored(store, version)), None)


def _is_stored(store: Store, version: ModelVersion) -> bool:
    from mlflow.artifacts import list_artifacts

    logged = get_or_none(store.client.get_logged_model, champion.logged_model(version))
    if logged is None:
        return False
    return bool(get_or_none(list_artifacts, logged.artifact_location, tracking_uri=store.uri))


def _upload(run: Run, name: str, folder: Path, digest: str, card: ModelCard) -> tuple[str, str]:
    """Store the folder as an MLflow model; return the logged model and the package's digest."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    client = run.store.client
    logged = client.create_logged_model(
        run.store.experiment_id,
        name="model",
        source_run_id=run.id,
        tags={"model": digest, TARGET_MODEL: name},
        params={name: str(value)[:250] for name, value in card.settings.items()},
        model_type="image-classifier",
    )
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "package"
        package.write(folder, target, run_id=run.id, model_id=logged.model_id)
        signature.sign(target)
        package_digest = files.digest_folder(target)
        client.log_model_artifacts(logged.model_id, str(target))
    sys.audit("pipeline", "package uploaded")
    client.finalize_logged_model(logged.model_id, "READY")
    try:
        client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    except MlflowException:
        # MLflow's client repeats a call whose answer was lost; the server refuses a second one.
        outputs = client.get_run(run.id).outputs
        known = {output.model_id for output in outputs.model_outputs} if outputs else set()
        if logged.model_id not in known:
            raise
    return str(logged.model_id), package_digest


def _create(run: Run, name: str, model_id: str, tags: dict[str, str]) -> ModelVersion:
    """Create the version with everything it is found by in one call, unless somebody just has."""
    from mlflow.exceptions import MlflowException

    client, digest = run.store.client, tags["model"]
    with lock.held(run.store, name) as guard:
        audit_log.ensure(run.store, name)
        found = _find(run.store, name, digest)
        if found is not None:
            return found
        try:
            version = client.create_model_version(
                name, f"models:/{model_id}", run.id, tags=tags, model_id=model_id
            )
        except MlflowException:
            # The response may be lost although the version was made.
            found = _find(run.store, name, digest)
            if found is None:
                raise
            return found
    oldest = None if guard.exclusive else _find(run.store, name, digest)
    if oldest is not None and str(oldest.version) != str(version.version):
        # Another process was as fast; everybody keeps the oldest.
        get_or_none(client.delete_model_version, name, str(version.version))  # or gone already
        return oldest
    sys.audit("pipeline", "version created")
    versions = json.dumps([{"name": name, "version": str(version.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": versions})
    return version


def record_decision(run: Run, version: Version, *, decision: Path, description: str) -> None:
    """State the decision in the audit log, on the version, on its run; make it `candidate`.

    The same decision again is no new event.

    Args:
        run: that the model comes from.
        version: that was evaluated.
        decision: the file decision.json.
        description: the page on which people decide.
    """
    client, name, number = run.store.client, version.name, version.number
    record, digest = files.read_artifact(decision, DecisionRecord), files.digest_file(decision)
    verdict = record.outcome.verdict
    _append_evaluated(run, version, record, digest)
    sys.audit("pipeline", "verdict logged")
    found = client.get_model_version(name, number)
    tags = {"gate": verdict, "decision": digest, "test": record.evidence.test_digest}
    for tag, value in tags.items():
        if found.tags.get(tag) != value:
            client.set_model_version_tag(name, number, tag, value)
    description = decided.with_decision(audit_log.read(run.store, name), number, description)
    if found.description != description:
        client.update_model_version(name, number, description)
    if champion.aliases(run.store, name).get(champion.CANDIDATE) != number:
        client.set_registered_model_alias(name, champion.CANDIDATE, number)
    run.tags({"gate": verdict, "version": f"{name}/{number}"})


def _append_evaluated(run: Run, version: Version, record: DecisionRecord, digest: str) -> None:
    """Append the verdict to the audit log, unless the newest one on this version is the same."""
    with lock.held(run.store, version.name) as guard:
        while True:
            log = audit_log.read(run.store, version.name)
            champion.require_weights(log, version.number, "be used")
            event = _evaluated(run, version, record, digest, log)
            event = event.model_copy(update={"locked": guard.exclusive})
            before = log.evaluation_of(version.number)
            if before and before.decision_sha256 == digest:
                return
            try:
                audit_log.append(run.store, log, event)
                return
            except AuditLogChanged:
                if guard.exclusive:
                    raise


def _evaluated(
    run: Run, version: Version, record: DecisionRecord, digest: str, log: AuditLog
) -> Event:
    evidence, outcome = record.evidence, record.outcome
    compared = evidence.champion.model_digest
    promotions = [event for event in log.promotions if event.model_digest == compared]
    failing = [check.message for check in outcome.checks if check.status in ("fail", "error")]
    return Event(
        action="evaluated",
        version=version.number,
        model_digest=evidence.model_digest,
        package_digest=version.tags.get("package", ""),
        champion=promotions[-1].version if promotions else "",
        champion_digest=compared,
        verdict=outcome.verdict,
        decision_sha256=digest,
        data_digest=evidence.data_digest,
        test_digest=evidence.test_digest,
        git=run.lineage.get("git", ""),
        checks={check.name: _shortened(check) for check in outcome.checks},
        reason="; ".join(failing),
    )


def _shortened(check: Check) -> tuple[float | None, str, str]:
    value = check.value if check.value is not None and math.isfinite(check.value) else None
    return value, check.threshold[:_THRESHOLD_CHARACTERS], check.status


def download_model(store: Store, name: str, version: str, target: Path) -> Path:
    """Download a version's package into `target`; return its model folder.

    Raises:
        ChangedInput: its bytes are not those that the version's tag and the audit log name.
        PipelineError: its weights were pruned.
    """
    log = audit_log.read(store, name)
    champion.require_weights(log, version, "be used")
    found, evaluated = champion.find_version(store, name, version), log.evaluation_of(version)
    if found is None or evaluated is None or found.tags.get("model") != evaluated.model_digest:
        raise ChangedInput(
            f"MLflow: version {version} of {name} is gone, or its tag `model` is not the digest in "
            "the audit log; see `python -m pipeline status`."
        )
    model_id = champion.logged_model(found)
    return verification.download(store, model_id, target, evaluated.model_digest)
