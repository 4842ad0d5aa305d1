"""Moving `champion` as one transaction: the journal is the truth, the aliases are its picture.

    lock -> is the champion still the one compared? -> `promoting` -> alias `previous` -> alias
    `champion` -> read back -> `promoted`

A process may be killed anywhere in between: whoever takes the lock next finds `promoting` without
its end, and finishes the move, or gives it up if the version can no longer be trusted.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from components.core.errors import PipelineError
from components.registry import audit_log as journal
from components.registry import champion as seats
from components.registry import lock
from components.registry.audit_log import Action, AuditLog, AuditLogMoved, Cause, Event, LoggedEvent
from components.registry.champion import CHAMPION, PREVIOUS, ChampionStatus
from components.registry.lock import Guard

if TYPE_CHECKING:
    from components.tracking.store import Store

# Where there is no lock, a promotion that somebody began is theirs for so long.
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5


class ChampionChanged(PipelineError):
    """The champion is no longer the one that the model was compared with."""


def seat(store: Store, name: str) -> ChampionStatus:
    """Who is champion; a promotion that was interrupted is finished first."""
    with lock.held(store, name) as guard:
        return seats.assess(store, _settled(store, name, guard))


def promote(
    store: Store,
    name: str,
    version: str,
    *,
    over: ChampionStatus,
    cause: Cause = "gate",
    reason: str = "",
) -> ChampionStatus:
    """Make the version champion; returns the new seat. Harmless when it is champion already.

    Args:
        store: where the model is.
        name: of the registered model.
        version: verified, with a verdict in the journal.
        over: the champion that it was compared with.
        cause: the gate needs the verdict `promote`; approved needs `hold`; rolled_back needs a
            model that was champion once.
        reason: of a person.

    Raises:
        ChampionChanged: somebody else is champion now; compare again.
        PipelineError: the version may not become champion, or the present one cannot be trusted.
    """
    with lock.held(store, name) as guard:
        while True:
            log = _settled(store, name, guard)
            now = seats.assess(store, log)
            if now.version == version and not now.fault:
                return now
            _require_unchanged(now, over, version)
            entry = _promoting(store, log, version, cause)
            if now.fault and cause != "rolled_back" and entry.model_digest != now.model_digest:
                raise PipelineError(f"{name}: nothing was promoted, because {now.fault}.")
            entry = entry.model_copy(update={"reason": reason, "locked": guard.exclusive})
            with suppress(AuditLogMoved):  # look again
                log = journal.append(store, log, entry)
                break
        _move(store, log, guard)
        return seats.assess(store, journal.read(store, name))


def _require_unchanged(now: ChampionStatus, over: ChampionStatus, version: str) -> None:
    if (now.version, now.model_digest) != (over.version, over.model_digest):
        raise ChampionChanged(
            f"version {version} was compared with {_title(over)}, but champion is {_title(now)} "
            "now; nothing was promoted. Run the same command again to compare with that one."
        )


def _title(found: ChampionStatus) -> str:
    return f"version {found.version}" if found.version else "no champion"


def _promoting(store: Store, log: AuditLog, version: str, cause: Cause) -> Event:
    """The entry that begins the move; raises unless this cause may move this version."""
    verdict = log.verdict_on(version)
    problem = _unfit(store, log, version) or _not_allowed(log, version, cause)
    if problem or verdict is None:
        raise PipelineError(f"{log.name}: version {version} cannot become champion: {problem}.")
    before = log.champion
    old = {
        "champion": before.version if before else "",
        "champion_digest": before.model_digest if before else "",
    }
    changes: dict[str, object] = {"action": "promoting", "cause": cause, "checks": {}, **old}
    return verdict.entry.model_copy(update=changes)


def _unfit(store: Store, log: AuditLog, version: str) -> str:
    """Why nobody may make this version champion; empty if it is verified and recorded."""
    found = seats.find_version(store, log.name, version)
    verdict = log.verdict_on(version)
    if found is None:
        return "it does not exist"
    if verdict is None:
        return "the journal holds no verdict on it"
    if not found.tags.get("verified") == found.tags.get("model") == verdict.model_digest:
        return "its tags `model` and `verified` are not the digest that the journal holds"
    return seats.pruned(log, version)


def _not_allowed(log: AuditLog, version: str, cause: Cause) -> str:
    verdict = log.verdict_on(version)
    if verdict is None:
        return ""
    if cause == "rolled_back":
        served = {r.model_digest for r in log.records if r.action == "promoted"}
        return "" if verdict.model_digest in served else "it never was champion"
    needed = "promote" if cause == "gate" else "hold"
    return "" if verdict.verdict == needed else f"the gate said {verdict.verdict}, not {needed}"


def _settled(store: Store, name: str, guard: Guard) -> AuditLog:
    """The journal without an open promotion: finished, given up, or waited for."""
    since, seen = time.monotonic(), ""
    while True:
        log = journal.read(store, name)
        begun = log.open
        if begun is None:
            return log
        if begun.nonce != seen:
            since, seen = time.monotonic(), begun.nonce
        # Under one's own lock its owner has crashed; a writer without a lock may be just slow.
        crashed = guard.exclusive and begun.locked
        if crashed or time.monotonic() - since > _PATIENCE_SECONDS:
            with suppress(ChampionChanged):  # somebody else has ended it
                _repair(store, log, begun, guard)
        else:
            time.sleep(_PAUSE_SECONDS)


def _repair(store: Store, log: AuditLog, begun: LoggedEvent, guard: Guard) -> None:
    """Finish a promotion that its owner left behind, or give it up."""
    problem = _unfit(store, log, begun.version)
    shown = seats.aliases(store, log.name).get(CHAMPION)
    if not problem and shown not in (begun.version, begun.champion or None):
        problem = f"`{CHAMPION}` was moved to version {shown} meanwhile"
    if problem:
        _end(store, log.name, begun, "void", problem)
        if shown in (begun.version, begun.champion, None):
            project(store, journal.read(store, log.name))
    else:
        _move(store, log, guard)


def _move(store: Store, log: AuditLog, guard: Guard) -> None:
    """Set both aliases for the open promotion, read them back, record that it is done."""
    begun = log.open
    assert begun is not None
    before = "" if begun.champion == begun.version else begun.champion
    for alias, version in ((PREVIOUS, before), (CHAMPION, begun.version)):
        _require_open(store, log.name, begun)
        guard.require_held()
        if version and seats.find_version(store, log.name, version):
            store.client.set_registered_model_alias(log.name, alias, version)
    shown = seats.aliases(store, log.name).get(CHAMPION)
    if shown == begun.version:
        _end(store, log.name, begun, "promoted", begun.reason)
        return
    _require_open(store, log.name, begun)
    _end(store, log.name, begun, "void", f"`{CHAMPION}` was moved to version {shown} meanwhile")
    raise PipelineError(
        f"MLflow: {log.name}@{CHAMPION} was set to version {begun.version}, but is {shown}: it "
        "was moved by hand at the same time. `python -m pipeline status` says how it stands."
    )


def _end(store: Store, name: str, begun: LoggedEvent, action: Action, reason: str) -> None:
    """Write the end of a promotion, behind whatever others wrote meanwhile."""
    while True:
        log = _require_open(store, name, begun)
        entry = begun.entry.model_copy(update={"action": action, "reason": reason})
        with suppress(AuditLogMoved):
            journal.append(store, log, entry)
            return


def _require_open(store: Store, name: str, begun: LoggedEvent) -> AuditLog:
    """The journal; if somebody else has ended this promotion, set the aliases right and raise."""
    log = journal.read(store, name)
    if log.open is not None and log.open.nonce == begun.nonce:
        return log
    project(store, log)
    raise ChampionChanged(
        f"{name}: the promotion of version {begun.version} took so long that somebody else ended "
        "it; `python -m pipeline history` says how. Run the same command again if need be."
    )


def project(store: Store, log: AuditLog) -> None:
    """Set `champion` and `previous` as the journal has them, until it no longer changes."""
    while log.open is None:
        wanted = seats.expected_aliases(log)
        shown = seats.aliases(store, log.name)
        for alias in (PREVIOUS, CHAMPION):
            version = wanted.get(alias)
            if version == shown.get(alias):
                continue
            if version is None:
                store.client.delete_registered_model_alias(log.name, alias)
            elif seats.find_version(store, log.name, version):
                store.client.set_registered_model_alias(log.name, alias, version)
        latest = journal.read(store, log.name)
        if latest.head == log.head:
            return
        log = latest
