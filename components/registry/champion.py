"""Who is champion: the alias compared with the journal. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.registry import audit_log as journal
from components.registry.audit_log import AuditLog

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from components.tracking.store import Store

# The version judged last; the one in use; the one in use before it.
CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"


@dataclass(frozen=True)
class ChampionStatus:
    """Who is champion.

    Attributes:
        version: None when there is none (or it was deleted: then `fault` says so).
        model_digest: of its model folder; empty when there is none.
        model_id: MLflow's logged model.
        run_id: the run that it comes from.
        fault: why the champion cannot be trusted; empty if it can.
    """

    version: str | None = None
    model_digest: str = ""
    model_id: str = ""
    run_id: str = ""
    fault: str = ""


def look(store: Store, name: str) -> tuple[ChampionStatus, AuditLog]:
    """Who is champion, and the journal that says so; changes nothing and waits for nobody.

    While a promotion is under way (`AuditLog.open`), the seat is the one before it.
    """
    while True:
        log = journal.read(store, name)
        found = assess(store, log)
        # Otherwise a promotion between the two readings would look like a move by hand.
        if journal.read(store, name).head == log.head:
            return found, log


def expected_aliases(log: AuditLog) -> dict[str, str]:
    """The aliases `champion` and `previous` as the journal has them."""
    moves = [r for r in log.records if r.action == "promoted"]
    # A champion that was set back after a move by hand has not succeeded itself.
    before = next((r.champion for r in reversed(moves) if r.champion != r.version), "")
    found = {CHAMPION: moves[-1].version, PREVIOUS: before} if moves else {}
    return {alias: version for alias, version in found.items() if version}


def aliases(store: Store, name: str) -> dict[str, str]:
    """Alias -> version; empty when there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        found = store.client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {alias: str(version) for alias, version in found.items()}


def find_version(store: Store, name: str, version: str) -> ModelVersion | None:
    """The version, if it is there."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def logged_model(version: ModelVersion) -> str:
    """The id of the logged model behind a version."""
    return str(version.source).removeprefix("models:/")


def revoked_reason(log: AuditLog, model_digest: str) -> str:
    """Why only a person may make this model champion (again); empty if the gate may."""
    why = ""
    for record in log.records:
        if record.action == "promoted" and record.model_digest == model_digest:
            why = ""
        elif record.action == "promoted" and record.champion_digest == model_digest:
            by_hand = record.cause == "rolled_back"
            end = "rolled back" if by_hand else f"succeeded by version {record.version}"
            why = f"version {record.champion} of this model was champion and was {end}"
        elif record.action == "rejected" and record.model_digest == model_digest:
            why = f"version {record.version} of this model was rejected"
        else:
            continue
        why = why and f"{why} by {record.who}, {record.time[:10]}" + _because(record.reason)
    return why


def ruling(log: AuditLog, version: str) -> str:
    """What a person last decided about a version; empty if nobody has.

    A later verdict of the gate does not undo it: the tag that asked for it may still stand.
    """
    for record in reversed(log.records):
        if record.version == version and record.action == "rejected":
            return "rejected"
        if (record.version, record.action, record.cause) == (version, "promoted", "approved"):
            return "approved"
    return ""


def pruned(log: AuditLog, version: str) -> str:
    """Why a version's weights are gone and how to get them again; empty if they stay."""
    for record in log.records:
        if record.version == version and record.action == "pruned":
            origin = f"check out git revision {record.git} and " if record.git else ""
            return (
                f"its weights were pruned on {record.time[:10]}; to have that model again, "
                f"{origin}run `dvc repro`"
            )
    return ""


def stray(log: AuditLog, shown: dict[str, str]) -> str:
    """How the alias `previous` contradicts the journal; empty if it does not, or is not set."""
    wanted, found = expected_aliases(log).get(PREVIOUS), shown.get(PREVIOUS)
    if found == wanted or found is None or log.open:
        return ""
    return (
        f"`{PREVIOUS}` was moved by hand: the journal says {wanted or 'nothing'}, the alias says "
        f"{found}. Set it back in the MLflow UI"
    )


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def assess(store: Store, log: AuditLog) -> ChampionStatus:
    """Compare the alias with this journal."""
    shown, last = aliases(store, log.name).get(CHAMPION), log.champion
    recorded = last.version if last else None
    version = find_version(store, log.name, shown) if shown else None
    begun = log.open
    if begun and shown in (begun.version, begun.champion or None):
        shown, version = recorded, find_version(store, log.name, recorded) if recorded else None
    fault = _fault(store, log, shown, version)
    if version is None:
        return ChampionStatus(model_digest=last.model_digest if last else "", fault=fault)
    return ChampionStatus(
        shown, version.tags.get("model", ""), logged_model(version), str(version.run_id), fault
    )


def _fault(store: Store, log: AuditLog, shown: str | None, version: ModelVersion | None) -> str:
    """Why the champion cannot be trusted; empty if alias, journal and tags agree."""
    last = log.champion
    if last is None:
        return (
            f"`{CHAMPION}` is version {shown}, but nobody recorded that it became it: the alias was"
            " set by hand. Remove the alias in the MLflow UI, then run `dvc repro register`"
            if shown
            else ""
        )
    back = f"`python -m pipeline rollback --to {last.version} --reason ...` sets it back"
    if shown == last.version and version is not None:
        if version.tags.get("model") == last.model_digest == version.tags.get("verified"):
            return ""
        return (
            f"the tags `model` and `verified` of version {shown} are not the digest that the "
            "journal holds: they were changed by hand. Set both to "
            f"{last.model_digest} again in the MLflow UI"
        )
    if find_version(store, log.name, last.version) is None:
        return (
            f"version {last.version}, champion since {last.time[:16]}, was deleted. Register that "
            "model again (`dvc repro register`), or `python -m pipeline rollback --to VERSION`"
        )
    return (
        f"`{CHAMPION}` was moved by hand: the journal says version {last.version}, the alias says "
        f"{shown or 'nothing'}. {back}"
    )
