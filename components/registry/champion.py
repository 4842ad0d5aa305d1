"""Who is champion: the alias compared with the audit log. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.errors import PipelineError
from components.registry import audit_log
from components.registry.audit_log import AuditLog
from components.tracking.store import get_or_none

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from components.tracking.store import Store

# The version evaluated last; the one in use; the one in use before it.
CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"


@dataclass(frozen=True)
class ChampionStatus:
    """Who is champion.

    Attributes:
        version: None when there is none (or it was deleted: then `problem` says so).
        model_digest: of its model folder; empty when there is none.
        model_id: MLflow's logged model.
        run_id: the run that it comes from.
        problem: why the champion cannot be trusted; empty if it can.
    """

    version: str | None = None
    model_digest: str = ""
    model_id: str = ""
    run_id: str = ""
    problem: str = ""

    @property
    def title(self) -> str:
        """In a sentence: version 2, or no champion."""
        return f"version {self.version}" if self.version else "no champion"


def read_champion(store: Store, name: str) -> tuple[ChampionStatus, AuditLog]:
    """Who is champion, and the audit log that says so; changes nothing and waits for nobody.

    While a promotion is pending (`AuditLog.pending`), it is the champion before it.
    """
    while True:
        log = audit_log.read(store, name)
        status = check_aliases(store, log)
        # Otherwise a promotion between the two readings would look like a move by hand.
        if audit_log.read(store, name).head == log.head:
            return status, log


def expected_aliases(log: AuditLog) -> dict[str, str]:
    """The aliases `champion` and `previous` as the audit log has them."""
    promotions = log.promotions
    # A champion that was set back after a move by hand is not its own predecessor.
    before = next((p.champion for p in reversed(promotions) if p.champion != p.version), "")
    found = {CHAMPION: promotions[-1].version, PREVIOUS: before} if promotions else {}
    return {alias: version for alias, version in found.items() if version}


def aliases(store: Store, name: str) -> dict[str, str]:
    """Alias -> version; empty when there is no such model."""
    model = get_or_none(store.client.get_registered_model, name)
    return {alias: str(version) for alias, version in model.aliases.items()} if model else {}


def find_version(store: Store, name: str, version: str) -> ModelVersion | None:
    """The version, if it exists."""
    if not version.isdecimal():  # MLflow calls it invalid, not missing
        return None
    return get_or_none(store.client.get_model_version, name, version)


def logged_model(version: ModelVersion) -> str:
    """The id of the logged model behind a version."""
    return str(version.source).removeprefix("models:/")


def revoked_reason(log: AuditLog, model_digest: str) -> str:
    """Why only a person may make this model champion (again); empty if the gate may."""
    reason = ""
    for event in log.events:
        promoted = event.action == "promotion_completed"
        if promoted and event.model_digest == model_digest:
            reason = ""
        elif promoted and event.champion_digest == model_digest:
            by_hand = event.trigger == "rolled_back"
            end = "rolled back" if by_hand else f"succeeded by version {event.version}"
            reason = f"version {event.champion} of this model was champion and was {end}"
        elif event.action == "rejected" and event.model_digest == model_digest:
            reason = f"version {event.version} of this model was rejected"
        else:
            continue
        why = f": {event.reason}" if event.reason else ""
        reason = reason and f"{reason} by {event.actor}, {event.time[:10]}{why}"
    return reason


def manual_decision(log: AuditLog, version: str) -> str:
    """What a person last decided about a version: approved | rejected; empty if nobody has.

    A later verdict of the gate does not undo it: the tag that asked for it may still be set.
    """
    for event in reversed(log.events):
        if event.version != version:
            continue
        if event.action == "rejected":
            return "rejected"
        if (event.action, event.trigger) == ("promotion_completed", "approved"):
            return "approved"
    return ""


def pruned_reason(log: AuditLog, version: str) -> str:
    """Why a version's weights are gone and how to get them again; empty if they stay."""
    for event in log.events:
        if event.version == version and event.action == "pruned":
            origin = f"check out git revision {event.git} and " if event.git else ""
            return (
                f"its weights were pruned on {event.time[:10]}; to have that model again, "
                f"{origin}run `dvc repro`"
            )
    return ""


def require_weights(log: AuditLog, version: str, purpose: str) -> None:
    """Raise `PipelineError` if a version's weights were pruned.

    Args:
        log: of the registered model.
        version: its number.
        purpose: what the version cannot do without them, e.g. "become champion".
    """
    if gone := pruned_reason(log, version):
        raise PipelineError(f"{log.name}: version {version} cannot {purpose}: {gone}.")


def alias_drift(log: AuditLog, found: dict[str, str]) -> str:
    """How the alias `previous` contradicts the audit log; empty if it does not, or is not set."""
    expected, shown = expected_aliases(log).get(PREVIOUS), found.get(PREVIOUS)
    if shown == expected or shown is None or log.pending:
        return ""
    return (
        f"`{PREVIOUS}` was moved by hand: the audit log says {expected or 'nothing'}, the alias "
        f"says {shown}. Set it back in the MLflow UI"
    )


def alias_lookalikes(found: dict[str, str]) -> list[str]:
    """Aliases that a person would take for ours: MLflow tells `Champion` from `champion`."""
    ours = (CANDIDATE, CHAMPION, PREVIOUS)
    return [
        f"the alias `{alias}` (version {version}) is none of this pipeline: it means "
        f"`{alias.casefold().strip()}`. Remove it in the MLflow UI"
        for alias, version in sorted(found.items())
        if alias not in ours and alias.casefold().strip() in ours
    ]


def check_aliases(store: Store, log: AuditLog) -> ChampionStatus:
    """Compare the alias `champion` with this audit log."""
    alias, last = aliases(store, log.name).get(CHAMPION), log.champion
    recorded = last.version if last else None
    version = find_version(store, log.name, alias) if alias else None
    pending = log.pending
    if pending and alias in (pending.version, pending.champion or None):
        alias = recorded
        version = find_version(store, log.name, recorded) if recorded else None
    problem = _problem(store, log, alias, version)
    if version is None:
        return ChampionStatus(model_digest=last.model_digest if last else "", problem=problem)
    digest = version.tags.get("model", "")
    return ChampionStatus(alias, digest, logged_model(version), str(version.run_id), problem)


def _problem(store: Store, log: AuditLog, alias: str | None, version: ModelVersion | None) -> str:
    """Why the champion cannot be trusted; empty if alias, audit log and tags agree."""
    last = log.champion
    if last is None:
        return (
            f"`{CHAMPION}` is version {alias}, but the audit log has no promotion: the alias was "
            "set by hand. Remove the alias in the MLflow UI, then run `dvc repro register`"
            if alias
            else ""
        )
    if alias == last.version and version is not None:
        if version.tags.get("model") == last.model_digest == version.tags.get("verified"):
            return ""
        return (
            f"the tags `model` and `verified` of version {alias} are not the digest in the audit "
            f"log: they were changed by hand. Set both to {last.model_digest} in the MLflow UI"
        )
    if find_version(store, log.name, last.version) is None:
        return (
            f"version {last.version}, champion since {last.time[:16]}, was deleted. Register that "
            "model again (`dvc repro register`), or `python -m pipeline rollback --to VERSION`"
        )
    return (
        f"`{CHAMPION}` was moved by hand: the audit log says version {last.version}, the alias "
        f"says {alias or 'nothing'}. `python -m pipeline rollback --to {last.version} --reason "
        "...` sets it back"
    )
