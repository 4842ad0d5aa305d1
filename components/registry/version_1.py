"""The names of version 1 of the registry: read for as long as they are stored, never written.

Version 1 kept the audit log under the name `journal`. A registered model that began with it keeps
its run and its hash chain, which covers the stored text; new events follow in version 2.
"""

from __future__ import annotations

from typing import Any

from components.core.gate.version_1 import upgrade_check

# Tag of a registered model: the run with its audit log.
TAG = "journal"

_FIELDS = {
    "before": "previous_hash",
    "who": "actor",
    "cause": "trigger",
    "receipt_sha256": "decision_sha256",
}

_ACTIONS = {
    "decided": "evaluated",
    "promoting": "promotion_started",
    "promoted": "promotion_completed",
    "void": "promotion_aborted",
    "rejected": "rejected",
    "pruned": "pruned",
}

# Of decisions; at the head of a version's description.
_VERDICTS = {"promote": "passed", "hold": "blocked"}
_HEADLINES = {"PASS": "passed", "HOLD": "blocked", "ERROR": "error"}


def upgrade_event(content: dict[str, Any]) -> dict[str, Any]:
    """An event of version 1 in the words of version 2.

    Raises:
        KeyError: it is none.
    """
    renamed = {_FIELDS.get(name, name): value for name, value in content.items()}
    checks = [_upgrade_check(name, *check) for name, check in content["checks"].items()]
    return renamed | {
        "schema_version": 2,
        "action": _ACTIONS[content["action"]],
        "verdict": _VERDICTS.get(content["verdict"], content["verdict"]),
        "checks": dict(checks),
    }


def _upgrade_check(
    name: str, value: float | None, threshold: str, verdict: str
) -> tuple[str, tuple[float | None, str, str]]:
    old = {"name": name, "value": value, "wanted": threshold, "verdict": verdict}
    new = upgrade_check(old)
    return new["name"], (value, threshold, new["status"])


def upgrade_headline(description: str) -> str:
    """The first line of a version's description, its verdict in the words of version 2."""
    line = description.partition("\n")[0]
    word, space, rest = line.partition(" ")
    return f"{_HEADLINES[word]}{space}{rest}" if word in _HEADLINES else line
