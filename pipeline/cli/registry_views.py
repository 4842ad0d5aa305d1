"""How the commands of the registry show what they read."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.common import print_table

if TYPE_CHECKING:
    from components.io.reports.summary import DecisionSummary
    from components.registry.audit_log import AuditLog, LoggedEvent
    from components.registry.champion import ChampionStatus
    from components.tracking.store import Store

ROLES = ("champion", "previous", "candidate")

STATUS = ("alias", "version", "verdict", "how", "since (UTC)", "by")
HISTORY = ("", "time (UTC)", "event", "version", "verdict", "before", "by, why")
_CHECKS = ("status", "check", "value", "threshold")

_TRIGGERS = {"gate": "by the gate", "approved": "approved", "rolled_back": "rolled back"}


def printable(text: str) -> str:
    """Without what would steer a terminal: people write reasons in the MLflow UI, too."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def role(store: Store, log: AuditLog, number: str | None) -> dict[str, str]:
    """What is known of the version that an alias names; nothing if it names none."""
    from components.registry import champion
    from components.registry.decided import without_decision
    from components.registry.version_1 import upgrade_headline

    version = champion.find_version(store, log.name, number) if number else None
    if number is None or version is None:
        return {}
    promotions = [event for event in log.promotions if event.version == number]
    since = promotions[-1] if promotions else log.evaluation_of(number)
    return {
        "version": number,
        "verdict": upgrade_headline(without_decision(version.description or "")),
        "link": store.version_link(log.name, number),
        "model_digest": version.tags.get("model", ""),
        "since": since.time if since else "",
        "by": since.actor if since else "",
        "how": _TRIGGERS[since.trigger] if since and promotions else "evaluated",
    }


def status_row(alias: str, known: Mapping[str, str]) -> list[str]:
    """A row of `STATUS`."""
    if not known:
        return [alias, "none", *[""] * (len(STATUS) - 2)]
    cells = [known["version"], known["verdict"], known["how"], _minute(known["since"]), known["by"]]
    return [alias, *map(printable, cells)]


def print_links(rows: Mapping[str, Mapping[str, str]]) -> None:
    """Where each version is in MLflow, once."""
    found = {row["version"]: row["link"] for row in rows.values() if row}
    for number, link in found.items():
        print(f"version {number}: {link}")


def read_back(store: Store, status: ChampionStatus, name: str) -> tuple[str, str]:
    """Download the champion and compare it: what is wrong with it, or that nothing is."""
    from components.core.errors import PipelineError
    from components.core.phrases import short_digest
    from components.registry import loading, signature

    if status.version is None:
        return "", ""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            loading.read_version(store, name, status.version, Path(scratch))
    except PipelineError as error:
        return f"{status.title} cannot be used: {error}", ""
    signed = ", signed" if signature.is_required() else ""
    digest = short_digest(status.model_digest)
    return "", f"{status.title} was read back: the bytes that were registered ({digest}){signed}"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def pending(log: AuditLog) -> str:
    """A sentence about the promotion that has not ended; empty if there is none."""
    started = log.pending
    if started is None:
        return ""
    return (
        f"the promotion of version {started.version} by {started.actor} since "
        f"{_minute(started.time)} UTC has not ended; the next `dvc repro register` or rollback "
        "completes it"
    )


def history_row(event: LoggedEvent) -> list[str]:
    """A row of `HISTORY`."""
    by_hand = event.action.startswith("promotion_") and event.trigger != "gate"
    why = f"{_TRIGGERS[event.trigger]}: {event.reason}" if by_hand else event.reason
    action = event.action.replace("_", " ")
    place = [str(event.seq), _minute(event.time), action, event.version, event.verdict]
    words = " ".join(printable(f"{event.actor}, {why}" if why else event.actor).split())
    return [*place, event.champion or "-", words]


def print_review(summary: DecisionSummary, log: AuditLog, version: str) -> None:
    """Verdict, checks, changed predictions, data, and what to do next."""
    from components.registry import champion

    print(printable(f"{summary.title}: {summary.headline}"))
    rows = [(check.status, check.name, check.value, check.threshold) for check in summary.checks]
    print_table(_CHECKS, rows)
    for line in [*summary.findings, *summary.detail_lines()]:
        print(printable(line))
    for event in log.events:
        if event.version == version and event.action == "rejected":
            why = " ".join(printable(event.reason).split())
            print(f"rejected {_minute(event.time)} UTC by {printable(event.actor)}: {why}")
    gone = champion.pruned_reason(log, version)
    print(gone or "\n".join(summary.next_step.lines()))


def megabytes(size: int) -> str:
    """Bytes as MB."""
    return f"{size / 1e6:,.1f} MB"
