"""Which stored weights are old enough to go. `deletion` deletes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from components.registry import champion
from components.registry.audit_log import AuditLog


@dataclass(frozen=True)
class RetentionPolicy:
    """What may go.

    Attributes:
        days: what is younger stays.
        keep: so many of the newest versions that have weights stay, however old.
    """

    days: int
    keep: int


@dataclass(frozen=True)
class StoredModel:
    """The weights of a version, or an upload that never became one.

    Attributes:
        model_id: MLflow's logged model.
        created: UTC.
        version: its number; empty for an upload.
        stored: whether any file is left; looked up only where the audit log says that none is.
        not_ours: why it is not ours to delete; empty if it is.
        tags: of the version.
    """

    model_id: str
    created: datetime
    version: str = ""
    stored: bool = True
    not_ours: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """In a sentence."""
        return f"version {self.version}" if self.version else f"upload {self.model_id}"


@dataclass(frozen=True)
class RetentionDecision:
    """What happens to a stored model.

    Attributes:
        reason: why it stays; empty if it goes.
    """

    model: StoredModel
    reason: str


def decide(
    models: Sequence[StoredModel],
    log: AuditLog,
    aliases: Mapping[str, str],
    policy: RetentionPolicy,
    now: datetime,
) -> tuple[RetentionDecision, ...]:
    """Decide for each stored model whether it stays, and why. Whatever is in doubt stays.

    Args:
        models: all of one registered model.
        log: its audit log.
        aliases: alias -> version.
        policy: what may go.
        now: UTC.
    """
    # Half-deleted weights must pass too: whoever may log runs could write an event `pruned`.
    needed = _in_use(log) | {version: f"`{alias}` names it" for alias, version in aliases.items()}
    numbers = [int(m.version) for m in models if m.version and m.stored and not m.not_ours]
    newest = sorted(numbers, reverse=True)[: policy.keep]
    young = now - timedelta(days=policy.days)

    def reason(model: StoredModel) -> str:
        if model.not_ours or not model.stored:
            return model.not_ours or "its weights are gone already"
        if model.version in needed:
            return needed[model.version]
        if model.version and int(model.version) in newest:
            return f"it is one of the newest {policy.keep}"
        return "" if model.created < young else f"it is younger than {policy.days} days"

    return tuple(RetentionDecision(model, reason(model)) for model in models)


def _in_use(log: AuditLog) -> dict[str, str]:
    """Version -> why somebody may need its weights, whatever its age."""
    expected = champion.expected_aliases(log)
    reasons = [(v, f"it is `{alias}` in the audit log") for alias, v in expected.items()]
    for event in filter(None, (log.champion, log.pending)):
        reasons += [(v, "`rollback` may need it") for v in (event.version, event.champion)]
    evaluations = [event for event in log.events if event.action == "evaluated"]
    reasons += [(event.version, "it was evaluated last") for event in evaluations[-1:]]
    last = {event.version: event for event in evaluations}
    for version, event in last.items():
        if event.verdict == "blocked" and not champion.manual_decision(log, version):
            reasons.append((version, "it waits for `approve` or `reject`"))
    # A champion that is evaluated again is compared with the same one as then.
    compared = {event.model_digest: event.champion for event in evaluations}
    needed = {version for version, _ in reasons}
    for version in sorted(needed & set(last), key=int):
        other = compared[last[version].model_digest]
        reasons.append((other, f"version {version} was compared with it"))
    return {version: why for version, why in reversed(reasons) if version}
