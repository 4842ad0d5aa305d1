"""The decision on a version, with its evidence, as register left it in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ChangedInput, PipelineError
from components.core.gate.record import DecisionRecord
from components.io import files
from components.registry import champion
from components.registry.audit_log import AuditLog

if TYPE_CHECKING:
    from components.tracking.store import Store

# Where the evidence lies among the artifacts of a model's run.
FOLDER = "register"


@dataclass(frozen=True)
class StoredDecision:
    """An evaluated version with its evidence.

    Attributes:
        version: its number.
        run_id: the run that the version comes from.
        record: proved to be the one in the audit log.
        folder: the evidence that register left with that run, as downloaded.
    """

    version: str
    run_id: str
    record: DecisionRecord
    folder: Path

    @property
    def path(self) -> Path:
        """The downloaded decision.json, with its evidence beside it."""
        return self.folder / "decision.json"

    def require_evaluation(self) -> None:
        """Raise `ChangedInput` if evaluation.json is not the one that was decided on."""
        path = self.folder / "evaluation.json"
        files.require_file(path)
        if files.digest_file(path) != self.record.evidence.evaluation_sha256:
            raise ChangedInput(
                f"run {self.run_id}: its evaluation.json is not the one that was decided on; run "
                "`dvc repro register` to evaluate the model again."
            )


def load_decision(store: Store, log: AuditLog, version: str, scratch: Path) -> StoredDecision:
    """Download what a version was decided on into the folder `scratch`.

    Raises:
        PipelineError: there is no such version, or it was never evaluated.
        ChangedInput: the stored decision is not the one in the audit log.
    """
    found, evaluated = champion.find_version(store, log.name, version), log.evaluation_of(version)
    if found is None or evaluated is None:
        known = sorted({int(e.version) for e in log.events if e.action == "evaluated"})
        raise PipelineError(
            f"{log.name}: version {version} does not exist or was never evaluated; evaluated are "
            f"{', '.join(map(str, known)) or 'none yet, run `dvc repro register`'}."
        )
    run_id = str(found.run_id)
    stored = {entry.path for entry in store.client.list_artifacts(run_id, FOLDER)}
    folder = scratch / FOLDER
    if f"{FOLDER}/decision.json" in stored:
        folder = Path(store.client.download_artifacts(run_id, FOLDER, str(scratch)))
    path = folder / "decision.json"
    if not path.exists() or files.digest_file(path) != evaluated.decision_sha256:
        raise ChangedInput(
            f"{log.name}: the decision stored with run {run_id} is not the one of version {version}"
            " in the audit log; run `dvc repro register` to evaluate the model again."
        )
    return StoredDecision(version, run_id, files.read_artifact(path, DecisionRecord), folder)
