"""Moving `champion` as one transaction: the audit log is the truth, the aliases follow it.

    lock -> is the champion still the one compared with? -> `promotion_started` -> alias `previous`
    -> alias `champion` -> read back -> `promotion_completed`

A process may be killed anywhere in between: whoever takes the lock next finds `promotion_started`
without its end, and completes the move, or aborts it if the version can no longer be trusted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ChangedInput, PipelineError
from components.registry import audit_log, champion, lock, signature, verification
from components.registry.audit_log import (
    Action,
    AuditLog,
    AuditLogChanged,
    Event,
    LoggedEvent,
    Trigger,
)
from components.registry.champion import CHAMPION, PREVIOUS, ChampionStatus
from components.registry.lock import Guard

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from components.tracking.store import Store

# Where there is no lock, nobody else touches a pending promotion for so long.
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.5


class ChampionChanged(PipelineError):
    """The champion is no longer the one that the model was compared with."""


def current_champion(store: Store, name: str) -> ChampionStatus:
    """Who is champion, after a pending promotion was completed or aborted."""
    with lock.held(store, name) as guard:
        return _read_resolved(store, name, guard)[0]


def promote(
    store: Store,
    name: str,
    version: str,
    *,
    over: ChampionStatus,
    trigger: Trigger = "gate",
    reason: str = "",
) -> ChampionStatus:
    """Make the version champion. Harmless when it is champion already.

    Args:
        store: where the model is.
        name: of the registered model.
        version: verified, with a verdict in the audit log.
        over: the champion that it was compared with.
        trigger: the gate needs the verdict passed; approved needs blocked; rolled_back needs a
            model that was champion once.
        reason: of a person.

    Returns:
        The new champion.

    Raises:
        ChampionChanged: somebody else is champion now; compare again.
        PipelineError: the version may not become champion, or the present one cannot be trusted.
    """
    with lock.held(store, name) as guard:
        while True:
            now, log = _read_resolved(store, name, guard)
            if now.version == version and not now.problem:
                return now
            _require_unchanged(now, over, version)
            event = _promotion_started(store, log, version, trigger)
            if now.problem and trigger != "rolled_back" and event.model_digest != now.model_digest:
                raise PipelineError(f"{name}: nothing was promoted, because {now.problem}.")
            event = event.model_copy(update={"reason": reason, "locked": guard.exclusive})
            with suppress(AuditLogChanged):  # read it again
                log = audit_log.append(store, log, event)
                break
        sys.audit("pipeline", "promotion started")
        _move_aliases(store, log, guard)
        return champion.read_champion(store, name)[0]


def _read_resolved(store: Store, name: str, guard: Guard) -> tuple[ChampionStatus, AuditLog]:
    """The champion and the audit log that says so, without a pending promotion."""
    while True:
        log = _resolve_pending(store, name, guard)
        status = champion.check_aliases(store, log)
        # Without a lock, a promotion between the two readings would look like a move by hand.
        if guard.exclusive or audit_log.read(store, name).head == log.head:
            return status, log


def _require_unchanged(now: ChampionStatus, over: ChampionStatus, version: str) -> None:
    if (now.version, now.model_digest) != (over.version, over.model_digest):
        raise ChampionChanged(
            f"version {version} was compared with {over.title}, but champion is {now.title} now; "
            "nothing was promoted. Run the same command again to compare with that one."
        )


def _promotion_started(store: Store, log: AuditLog, version: str, trigger: Trigger) -> Event:
    """The event that starts the move; raises unless this trigger may move this version."""
    evaluated = log.evaluation_of(version)
    problem = _ineligible_reason(store, log, version) or _refusal(log, version, trigger)
    if problem or evaluated is None:
        raise PipelineError(f"{log.name}: version {version} cannot become champion: {problem}.")
    before = log.champion
    changes: dict[str, object] = {
        "action": "promotion_started",
        "trigger": trigger,
        "checks": {},
        "champion": before.version if before else "",
        "champion_digest": before.model_digest if before else "",
    }
    return evaluated.event.model_copy(update=changes)


def _ineligible_reason(store: Store, log: AuditLog, version: str) -> str:
    """Why nobody may make this version champion; empty if it is verified and recorded."""
    found = champion.find_version(store, log.name, version)
    evaluated = log.evaluation_of(version)
    if found is None:
        return "it does not exist"
    if evaluated is None:
        return "the audit log has no verdict on it"
    if not found.tags.get("verified") == found.tags.get("model") == evaluated.model_digest:
        return "its tags `model` and `verified` are not the digest in the audit log"
    return champion.pruned_reason(log, version) or _signature_problem(store, found, evaluated)


def _signature_problem(store: Store, version: ModelVersion, evaluated: LoggedEvent) -> str:
    """Why the package is not what the configured key signed; empty if it is, or there is no key."""
    if not signature.is_required():
        return ""
    model_id = champion.logged_model(version)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            verification.read_back(
                store, model_id, Path(scratch), evaluated.model_digest, evaluated.package_digest
            )
        except ChangedInput as error:
            return str(error).rstrip(".")
    return ""


def _refusal(log: AuditLog, version: str, trigger: Trigger) -> str:
    """Why this trigger may not make this version champion; empty if it may."""
    evaluated = log.evaluation_of(version)
    if evaluated is None:
        return ""
    if trigger == "rolled_back":
        champions = {event.model_digest for event in log.promotions}
        return "" if evaluated.model_digest in champions else "it never was champion"
    needed, verdict = "passed" if trigger == "gate" else "blocked", evaluated.verdict
    return "" if verdict == needed else f"its verdict is {verdict or 'unknown'}, not {needed}"


def _resolve_pending(store: Store, name: str, guard: Guard) -> AuditLog:
    """The audit log without a pending promotion: completed, aborted, or waited for."""
    since, seen = time.monotonic(), ""
    while True:
        log = audit_log.read(store, name)
        started = log.pending
        if started is None:
            return log
        if started.nonce != seen:
            since, seen = time.monotonic(), started.nonce
        # Under one's own lock its owner has crashed; a writer without a lock may be just slow.
        crashed = guard.exclusive and started.locked
        if crashed or time.monotonic() - since > _PATIENCE_SECONDS:
            with suppress(ChampionChanged):  # somebody else has ended it
                _resume_or_abort(store, log, started, guard)
        else:
            time.sleep(_POLL_SECONDS)


def _resume_or_abort(store: Store, log: AuditLog, started: LoggedEvent, guard: Guard) -> None:
    """End a promotion that its owner left behind."""
    problem = _ineligible_reason(store, log, started.version)
    alias = champion.aliases(store, log.name).get(CHAMPION)
    if not problem and alias not in (started.version, started.champion or None):
        problem = f"`{CHAMPION}` was moved to version {alias} meanwhile"
    if problem:
        _close(store, log.name, started, "promotion_aborted", problem)
        if alias in (started.version, started.champion, None):
            reconcile_aliases(store, audit_log.read(store, log.name))
    else:
        _move_aliases(store, log, guard)


def _move_aliases(store: Store, log: AuditLog, guard: Guard) -> None:
    """Set both aliases for the pending promotion, read them back, record that it is completed."""
    started = log.pending
    assert started is not None
    before = "" if started.champion == started.version else started.champion
    for alias, version in ((PREVIOUS, before), (CHAMPION, started.version)):
        _require_pending(store, log.name, started)
        guard.require_held()
        if version and champion.find_version(store, log.name, version):
            store.client.set_registered_model_alias(log.name, alias, version)
        sys.audit("pipeline", "alias moved")
    found = champion.aliases(store, log.name).get(CHAMPION)
    if found == started.version:
        _close(store, log.name, started, "promotion_completed", started.reason)
        return
    _require_pending(store, log.name, started)
    reason = f"`{CHAMPION}` was moved to version {found} meanwhile"
    _close(store, log.name, started, "promotion_aborted", reason)
    raise PipelineError(
        f"MLflow: {log.name}@{CHAMPION} was set to version {started.version}, but is {found}: it "
        "was moved by hand at the same time. Run `python -m pipeline status`."
    )


def _close(store: Store, name: str, started: LoggedEvent, action: Action, reason: str) -> None:
    """Write the end of a promotion, behind whatever others wrote meanwhile."""
    while True:
        log = _require_pending(store, name, started)
        event = started.event.model_copy(update={"action": action, "reason": reason})
        with suppress(AuditLogChanged):
            audit_log.append(store, log, event)
            return


def _require_pending(store: Store, name: str, started: LoggedEvent) -> AuditLog:
    """The audit log; if somebody else has ended this promotion, set the aliases right and raise."""
    log = audit_log.read(store, name)
    if log.pending is not None and log.pending.nonce == started.nonce:
        return log
    reconcile_aliases(store, log)
    raise ChampionChanged(
        f"{name}: the promotion of version {started.version} took so long that somebody else ended "
        "it. Run `python -m pipeline history` to see how; repeat the command if need be."
    )


def reconcile_aliases(store: Store, log: AuditLog) -> None:
    """Set `champion` and `previous` as the audit log has them, until it no longer changes."""
    while log.pending is None:
        expected = champion.expected_aliases(log)
        found = champion.aliases(store, log.name)
        for alias in (PREVIOUS, CHAMPION):
            version = expected.get(alias)
            if version == found.get(alias):
                continue
            if version is None:
                store.client.delete_registered_model_alias(log.name, alias)
            elif champion.find_version(store, log.name, version):
                store.client.set_registered_model_alias(log.name, alias, version)
        latest = audit_log.read(store, log.name)
        if latest.head == log.head:
            return
        log = latest
