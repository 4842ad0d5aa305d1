"""What a person decides about a version: approve, reject, roll back; on the command line or by tag.

Each function first completes or aborts a pending promotion, unless it is a dry run.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.core.errors import PipelineError
from components.core.gate.record import DecisionRecord
from components.registry import audit_log, champion, decided, eligibility, lock, promotion
from components.registry.audit_log import AuditLog, AuditLogChanged, LoggedEvent, Trigger
from components.registry.champion import ChampionStatus
from components.registry.decisions import load_decision
from components.registry.verification import verify

if TYPE_CHECKING:
    from components.tracking.store import Store

# Set in the MLflow UI, acted on by `sync`; set by approve and reject, so that the UI shows them.
TAG, REASON_TAG = "review", "review.reason"

_log = logging.getLogger(__name__)

# Shown what is about to be done; whether to do it.
Confirm = Callable[[str], bool]

_DECISIONS = ("approved", "rejected")


@dataclass(frozen=True)
class Result:
    """What came of a request.

    Attributes:
        state: done; unchanged = it was so already; planned = a dry run; declined = not confirmed;
            refused = `sync` may not.
        message: for people, of one line or two.
    """

    state: Literal["done", "unchanged", "planned", "declined", "refused"]
    message: str


def approve(
    store: Store, name: str, version: str, reason: str, *, confirm: Confirm, dry_run: bool = False
) -> Result:
    """Make a version champion that the gate blocked.

    Raises:
        PipelineError: it may not be approved, or its stored package fails the smoke test.
    """
    status, log = _read_champion(store, name, dry_run)
    if status.version == version and not status.problem:
        return Result("unchanged", f"version {version} is champion already")
    champion.require_weights(log, version, "become champion")
    eligibility.require_approvable(store, _load_record(store, log, version), version, status)
    plan = f"version {version} of {name} becomes champion, {_replaces(status)}"
    return _unless_confirmed(plan, confirm, dry_run) or _approve(
        store, name, version, status, reason
    )


def _read_champion(store: Store, name: str, dry_run: bool) -> tuple[ChampionStatus, AuditLog]:
    if not dry_run:
        promotion.current_champion(store, name)
    return champion.read_champion(store, name)


def _replaces(status: ChampionStatus) -> str:
    return f"instead of version {status.version}" if status.version else "the first one"


def _load_record(store: Store, log: AuditLog, version: str) -> DecisionRecord:
    with tempfile.TemporaryDirectory() as scratch:
        return load_decision(store, log, version, Path(scratch)).record


def _unless_confirmed(plan: str, confirm: Confirm, dry_run: bool) -> Result | None:
    """None to go on."""
    if dry_run:
        return Result("planned", f"would be done: {plan}")
    return None if confirm(plan) else Result("declined", "nothing was changed")


def _approve(store: Store, name: str, version: str, over: ChampionStatus, reason: str) -> Result:
    _promote(store, name, version, over, "approved", reason)
    _show(store, name, version, "approved", reason)
    return Result("done", f"approved: {_champion_is(name, version)}")


def _champion_is(name: str, version: str) -> str:
    return f"champion is version {version}: models:/{name}@{champion.CHAMPION}"


def _promote(
    store: Store, name: str, version: str, over: ChampionStatus, trigger: Trigger, reason: str
) -> None:
    """Prove that the stored package is whole and predicts; then make it champion."""
    found = champion.find_version(store, name, version)
    evaluated = audit_log.read(store, name).evaluation_of(version)
    if found is None or evaluated is None:
        raise PipelineError(
            f"{name}: version {version} does not exist any more; `python -m pipeline history` "
            "lists the others."
        )
    _log.info("loading version %s and checking its predictions", version)
    model_id = champion.logged_model(found)
    verify(store, model_id, evaluated.model_digest, evaluated.package_digest)
    promotion.promote(store, name, version, over=over, trigger=trigger, reason=reason)


def _show(store: Store, name: str, version: str, decision: str, reason: str) -> None:
    """State a decision where MLflow shows the version: in its tags and first on its page."""
    plain = reason.removeprefix(decided.BY_TAG)
    for tag, value in {TAG: decision, REASON_TAG: plain}.items():
        store.client.set_model_version_tag(name, version, tag, value)
    before = store.client.get_model_version(name, version).description or ""
    after = decided.with_decision(audit_log.read(store, name), version, before)
    store.client.update_model_version(name, version, after)


def reject(
    store: Store, name: str, version: str, reason: str, *, confirm: Confirm, dry_run: bool = False
) -> Result:
    """Decide that a version that the gate blocked does not become champion.

    Raises:
        PipelineError: it is not blocked, or is champion.
    """
    status, log = _read_champion(store, name, dry_run)
    record = _load_record(store, log, version)
    if champion.manual_decision(log, version) == "rejected":
        return Result("unchanged", f"version {version} is rejected already")
    eligibility.require_rejectable(record, version, status)
    plan = f"version {version} of {name} is rejected for good"
    return _unless_confirmed(plan, confirm, dry_run) or _reject(store, log, version, reason)


def _reject(store: Store, log: AuditLog, version: str, reason: str) -> Result:
    """Append the rejection, behind whatever others wrote meanwhile."""
    evaluated = log.evaluation_of(version)
    assert evaluated is not None
    changes = {"action": "rejected", "reason": reason, "checks": {}}
    event = evaluated.event.model_copy(update=changes)
    while True:
        try:
            with lock.held(store, log.name):
                audit_log.append(store, audit_log.read(store, log.name), event)
            break
        except AuditLogChanged:
            continue
    _show(store, log.name, version, "rejected", reason)
    return Result("done", f"rejected: version {version}")


def sync(store: Store, name: str, *, dry_run: bool = False) -> Iterator[Result]:
    """Act on the tags `review` = approved | rejected and `review.reason` of the MLflow UI.

    One result per tagged version, by number, as soon as it is known; `refused` = it may not be, or
    the tags do not say what or why.
    """
    versions = store.client.search_model_versions(f"name='{name}'")
    tagged = {str(v.version): v.tags for v in versions if v.tags.get(TAG)}
    for version in sorted(tagged, key=int):
        decision, reason = tagged[version][TAG], tagged[version].get(REASON_TAG, "").strip()
        try:
            _require_known(version, decision)
            yield _sync(store, name, version, decision, reason, dry_run)
        except PipelineError as error:
            yield Result("refused", f"refused: {error}")


def _require_known(version: str, decision: str) -> None:
    if decision not in _DECISIONS:
        raise PipelineError(
            f"version {version}: its tag `{TAG}` is {decision!r}, which means nothing; set it to "
            f"{' or '.join(_DECISIONS)} in the MLflow UI, and `{REASON_TAG}` to why."
        )


def _sync(store: Store, name: str, version: str, decision: str, reason: str, dry: bool) -> Result:
    status, log = _read_champion(store, name, dry)
    champion_already = status.version == version and decision == "approved"
    if champion.manual_decision(log, version) == decision or champion_already:
        last = [e for e in log.events if e.version == version and e.action != "pruned"][-1]
        message = f"version {version}: {decision} already, {last.time[:10]} by {decided.who(last)}"
        return Result("unchanged", message)
    if not reason:
        raise PipelineError(
            f"version {version}: its tag `{TAG}` is {decision}, but nobody said why; set its tag "
            f"`{REASON_TAG}` in the MLflow UI, then run `python -m pipeline sync` again."
        )
    record = _load_record(store, log, version)
    if decision == "approved":
        champion.require_weights(log, version, "become champion")
        eligibility.require_approvable(store, record, version, status)
    else:
        eligibility.require_rejectable(record, version, status)
    if dry:
        return Result("planned", f"would be done: version {version} is {decision}: {reason}")
    reason = f"{decided.BY_TAG}{reason}"
    if decision == "approved":
        return _approve(store, name, version, status, reason)
    return _reject(store, log, version, reason)


def rollback(
    store: Store,
    name: str,
    version: str | None,
    reason: str,
    *,
    confirm: Confirm,
    dry_run: bool = False,
) -> Result:
    """Bring a previous champion back, after a smoke test of its stored package.

    Args:
        store: where the model is.
        name: of the registered model.
        version: None = the champion before this one.
        reason: for the audit log.
        confirm: shown what is about to be done; whether to do it.
        dry_run: only say what would happen.

    Raises:
        PipelineError: there is nothing to roll back to, or the stored package is not sound.
    """
    status, log = _read_champion(store, name, dry_run)
    last = log.champion
    if last is None:
        raise PipelineError(
            f"{name}: the audit log has no champion, so there is nothing to roll back to."
        )
    target = version or _previous(last, status)
    if status.version == target and not status.problem:
        since = f"since {last.time[:16]} by {last.actor}"
        return Result("unchanged", f"version {target} is champion already, {since}")
    _require_former_champion(log, target)
    champion.require_weights(log, target, "become champion")
    plan = f"version {target} of {name} becomes champion again, {_replaces(status)}"
    if (result := _unless_confirmed(plan, confirm, dry_run)) is not None:
        return result
    _promote(store, name, target, status, "rolled_back", reason)
    message = f"rolled back: {_champion_is(name, target)}"
    if status.version:
        message += f"\nversion {status.version} is revoked: only a person can bring it back"
    return Result("done", message)


def _previous(last: LoggedEvent, status: ChampionStatus) -> str:
    """Where a rollback goes by itself; the second one in a row stays where the first one went."""
    if status.problem:
        raise PipelineError(f"{status.problem}.")
    if last.trigger == "rolled_back":
        return last.version
    if not last.champion:
        raise PipelineError(
            f"version {last.version} is the first champion: there is none before it to roll back to"
            "; train a better model, or `--to` a version that was champion once."
        )
    return last.champion


def _require_former_champion(log: AuditLog, version: str) -> None:
    digests = {event.model_digest for event in log.promotions}
    evaluated = log.evaluation_of(version)
    if evaluated is None or evaluated.model_digest not in digests:
        known = sorted({int(event.version) for event in log.promotions})
        raise PipelineError(
            f"{log.name}: version {version} never was champion; these were: "
            f"{', '.join(map(str, known))}. A blocked version is approved, not rolled back to."
        )
