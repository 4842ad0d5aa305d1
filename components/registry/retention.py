"""Which stored weights may go for age. `removal` lets them go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from components.registry import champion as seats
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
        stored: whether any file is left; looked up only where the journal says that none should be.
        foreign: why it is not ours to delete; empty if it is.
        tags: of the version.
    """

    model_id: str
    created: datetime
    version: str = ""
    stored: bool = True
    foreign: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RetentionDecision:
    """What happens to a package.

    Attributes:
        reason: why it stays; empty if it goes.
    """

    package: StoredModel
    reason: str


def choose(
    packages: Sequence[StoredModel],
    log: AuditLog,
    shown: Mapping[str, str],
    limits: RetentionPolicy,
    now: datetime,
) -> tuple[RetentionDecision, ...]:
    """Decide for each package whether it stays, and why. Whatever is in doubt stays.

    Args:
        packages: all of one registered model.
        log: its journal.
        shown: alias -> version.
        limits: what may go.
        now: UTC.
    """
    # Half-deleted weights must pass too: who may log runs could write a record `pruned`.
    needed = _in_use(log) | {version: f"`{alias}` names it" for alias, version in shown.items()}
    numbers = [int(p.version) for p in packages if p.version and p.stored and not p.foreign]
    newest = sorted(numbers, reverse=True)[: limits.keep]
    young = now - timedelta(days=limits.days)

    def reason(package: StoredModel) -> str:
        if package.foreign or not package.stored:
            return package.foreign or "its weights are gone already"
        if package.version in needed:
            return needed[package.version]
        if package.version and int(package.version) in newest:
            return f"it is one of the newest {limits.keep}"
        return "" if package.created < young else f"it is younger than {limits.days} days"

    return tuple(RetentionDecision(package, reason(package)) for package in packages)


def _in_use(log: AuditLog) -> dict[str, str]:
    """Version -> why somebody may need its weights, whatever its age."""
    reasons = [
        (v, f"it is `{alias}` in the journal") for alias, v in seats.expected_aliases(log).items()
    ]
    for record in filter(None, (log.champion, log.open)):
        reasons += [(v, "`rollback` may need it") for v in (record.version, record.champion)]
    judged = [r for r in log.records if r.action == "decided"]
    reasons += [(r.version, "it was judged last") for r in judged[-1:]]
    last = {record.version: record for record in judged}
    for version, verdict in last.items():
        if verdict.verdict == "hold" and not seats.ruling(log, version):
            reasons.append((version, "it waits for `approve` or `reject`"))
    # A champion that is judged again meets the one that it met then.
    met = {record.model_digest: record.champion for record in judged}
    needed = {version for version, _ in reasons}
    for version in sorted(needed & set(last), key=int):
        reasons.append((met[last[version].model_digest], f"version {version} was compared with it"))
    return {version: why for version, why in reversed(reasons) if version}
