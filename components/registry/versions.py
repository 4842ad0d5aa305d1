"""Versions in the model registry: one per model folder, with the gate's verdict on it.

Everything may run again at any point: a version is found by the digest of its folder, a tag of the
very call that creates it, and whatever is missing behind it is done again.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.artifacts import ModelCard
from components.core.errors import ChangedInput, PipelineError
from components.core.gate.record import Check, DecisionRecord
from components.io import files
from components.registry import audit_log as journal
from components.registry import champion as seats
from components.registry import lock, package, verification
from components.registry.audit_log import AuditLog, AuditLogMoved, Event
from components.registry.verification import verify
from components.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from components.tracking.store import Store

# The tag `gate` of a version and of its run.
GATE = {"promote": "pass", "hold": "hold", "error": "error"}

# Tag of a logged model: the registered model that it was uploaded for.
TARGET_MODEL = "registered_model"

_WANTED = 60


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
    """Make sure that the model folder is a version whose stored package was read back and answered.

    Args:
        run: that the model comes from.
        name: of the registered model.
        folder: weights and card.
        digest: of `folder`.
        card: of `folder`.
        test_digest: of the test set that it is judged on.

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
        verify(run.store, seats.logged_model(found), digest, found.tags.get("package", ""))
        run.store.client.set_model_version_tag(name, str(found.version), "verified", digest)
    return Version(name, str(found.version), created, dict(found.tags))


def _find(store: Store, name: str, digest: str) -> ModelVersion | None:
    """The oldest version of this model folder whose files are still there, and will be."""
    wanted = f"name='{name}' AND tags.model='{digest}'"
    found, log = store.client.search_model_versions(wanted), journal.read(store, name)
    versions = [version for version in found if not seats.pruned(log, str(version.version))]
    oldest_first = sorted(versions, key=lambda version: int(version.version))
    return next((version for version in oldest_first if _is_stored(store, version)), None)


def _is_stored(store: Store, version: ModelVersion) -> bool:
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    try:
        logged = store.client.get_logged_model(seats.logged_model(version))
        return bool(list_artifacts(logged.artifact_location, tracking_uri=store.uri))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _upload(run: Run, name: str, folder: Path, digest: str, card: ModelCard) -> tuple[str, str]:
    """Store the folder as an MLflow model; return the logged model and the package's digest."""
    from mlflow.entities import LoggedModelOutput

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
        package_digest = files.digest_folder(target)
        client.log_model_artifacts(logged.model_id, str(target))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_id), package_digest


def _create(run: Run, name: str, model_id: str, tags: dict[str, str]) -> ModelVersion:
    """Create the version with everything it is found by in one call, unless somebody just has."""
    from mlflow.exceptions import MlflowException

    client, digest = run.store.client, tags["model"]
    with lock.held(run.store, name) as guard:
        journal.ensure(run.store, name)
        found = _find(run.store, name, digest)
        if found is not None:
            return found
        try:
            version = client.create_model_version(
                name, f"models:/{model_id}", run.id, tags=tags, model_id=model_id
            )
        except MlflowException:
            # The answer may be lost although the version was made.
            found = _find(run.store, name, digest)
            if found is None:
                raise
            return found
    oldest = None if guard.exclusive else _find(run.store, name, digest)
    if oldest is not None and str(oldest.version) != str(version.version):
        # Another process was as fast; everybody keeps the oldest.
        client.delete_model_version(name, str(version.version))
        return oldest
    versions = json.dumps([{"name": name, "version": str(version.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": versions})
    return version


def record_decision(run: Run, version: Version, *, receipt: Path, description: str) -> None:
    """Say what was decided: in the journal, on the version, on its run; and make it `candidate`.

    The same receipt again is no new record.

    Args:
        run: that the model comes from.
        version: that was judged.
        receipt: the file decision.json.
        description: the page on which people decide.
    """
    client, name, number = run.store.client, version.name, version.number
    decided, digest = files.read_artifact(receipt, DecisionRecord), files.digest_file(receipt)
    gate, test = GATE[decided.decision.verdict], decided.evidence.test_digest
    _record(run, version, decided, digest)
    found = client.get_model_version(name, number)
    for tag, value in {"gate": gate, "decision": digest, "test": test}.items():
        if found.tags.get(tag) != value:
            client.set_model_version_tag(name, number, tag, value)
    if found.description != description:
        client.update_model_version(name, number, description)
    if seats.aliases(run.store, name).get(seats.CANDIDATE) != number:
        client.set_registered_model_alias(name, seats.CANDIDATE, number)
    run.tags({"gate": gate, "version": f"{name}/{number}"})


def _record(run: Run, version: Version, receipt: DecisionRecord, digest: str) -> None:
    """Append the verdict to the journal, unless the newest one on this version says the same."""
    with lock.held(run.store, version.name) as guard:
        while True:
            log = journal.read(run.store, version.name)
            _require_weights(log, version.number)
            entry = _entry(run, version, receipt, digest, log)
            entry = entry.model_copy(update={"locked": guard.exclusive})
            before = log.verdict_on(version.number)
            if before and before.decision_sha256 == digest:
                return
            try:
                journal.append(run.store, log, entry)
                return
            except AuditLogMoved:
                if guard.exclusive:
                    raise


def _require_weights(log: AuditLog, version: str) -> None:
    if gone := seats.pruned(log, version):
        raise PipelineError(f"{log.name}: version {version} cannot be used: {gone}.")


def _entry(
    run: Run, version: Version, receipt: DecisionRecord, digest: str, log: AuditLog
) -> Event:
    evidence, decision = receipt.evidence, receipt.decision
    compared = evidence.champion.model_digest
    served = [r for r in log.records if r.action == "promoted" and r.model_digest == compared]
    failing = [check.reason for check in decision.checks if check.verdict in ("hold", "error")]
    return Event(
        action="decided",
        version=version.number,
        model_digest=evidence.model_digest,
        package_digest=version.tags.get("package", ""),
        champion=served[-1].version if served else "",
        champion_digest=compared,
        verdict=decision.verdict,
        decision_sha256=digest,
        data_digest=evidence.data_digest,
        test_digest=evidence.test_digest,
        git=run.lineage.get("git", ""),
        checks={check.name: _shortened(check) for check in decision.checks},
        reason="; ".join(failing),
    )


def _shortened(check: Check) -> tuple[float | None, str, str]:
    value = check.value if check.value is not None and math.isfinite(check.value) else None
    return value, check.wanted[:_WANTED], check.verdict


def fetch(store: Store, name: str, version: str, target: Path) -> Path:
    """Download a version's package into `target`; return its model folder.

    Raises:
        ChangedInput: its bytes are not those that the version's tag and the journal name.
        PipelineError: its weights were pruned.
    """
    log = journal.read(store, name)
    _require_weights(log, version)
    found, recorded = seats.find_version(store, name, version), log.verdict_on(version)
    if found is None or recorded is None or found.tags.get("model") != recorded.model_digest:
        raise ChangedInput(
            f"MLflow: version {version} of {name} is gone, or its tag `model` is not the digest in "
            "the journal; `python -m pipeline status` says more."
        )
    return verification.download(store, seats.logged_model(found), target, recorded.model_digest)
