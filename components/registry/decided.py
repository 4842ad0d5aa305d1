"""A person's decision as the first line of a version's page: who, when and why."""

from __future__ import annotations

import re

from components.registry.audit_log import AuditLog, LoggedEvent

_LIMIT = 4900  # of MLflow's 5,000 characters
_REASON = 300
# Begins the reason of what `sync` did: MLflow does not keep who set a tag.
BY_TAG = "by a tag in MLflow's UI: "

_FIRST = re.compile(r"(approved|rejected) by .*\n\n")


def with_decision(log: AuditLog, version: str, description: str) -> str:
    """The description below what a person last decided about the version; alone if nobody did.

    Args:
        log: of the registered model.
        version: its number.
        description: with or without such a line of before.
    """
    page = without_decision(description)
    event = _last(log, version)
    if event is None:
        return page
    word = "rejected" if event.action == "rejected" else "approved"
    reason = " ".join(event.reason.removeprefix(BY_TAG).split())[:_REASON]
    return f"{word} by {who(event)}, {event.time[:10]}: {reason}\n\n{page}"[:_LIMIT]


def who(event: LoggedEvent) -> str:
    """Who decided: the person on the command line, or whoever set a tag, unknown to MLflow."""
    if event.reason.startswith(BY_TAG):
        return f"a tag in MLflow's UI, applied by {event.actor}"
    return event.actor


def without_decision(description: str) -> str:
    """What the gate said: its verdict comes first."""
    return _FIRST.sub("", description, count=1) if _FIRST.match(description) else description


def _last(log: AuditLog, version: str) -> LoggedEvent | None:
    decisions = [
        event
        for event in log.events
        if event.version == version
        and (
            event.action == "rejected"
            or (event.action, event.trigger) == ("promotion_completed", "approved")
        )
    ]
    return decisions[-1] if decisions else None
