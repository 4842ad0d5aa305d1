"""What version 1 of the registry called otherwise: read for as long as it is stored, never written.

Version 1 kept the audit log under the name `journal`. A registered model that began with it keeps
its run and its chain of hashes, which is over the stored text; new events follow in version 2.
"""

from __future__ import annotations

from typing import Any

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

# Of decisions, of the tag `gate`, and in capitals at the head of a version's description.
_VERDICTS = {"promote": "passed", "pass": "passed", "hold": "blocked"}

_STATUSES = {"promote": "pass", "hold": "fail"}

_CHECKS = {
    "leak": "data leakage",
    "answers": "prediction diversity",
    "class losses": "per-class regression",
    "too good": "implausible result",
    "history": "revocation",
    "test set wear": "test-set reuse",
}

# Thresholds of checks that looked at nothing.
_SKIPPED = ("no bound", "no champion yet", "itself")


def upgrade_event(content: dict[str, Any]) -> dict[str, Any]:
    """An event of version 1 in the words of version 2.

    Raises:
        KeyError: it has no known action.
    """
    renamed = {_FIELDS.get(name, name): value for name, value in content.items()}
    checks = [_upgrade_check(name, *check) for name, check in content.get("checks", {}).items()]
    return renamed | {
        "schema_version": 2,
        "action": _ACTIONS[content["action"]],
        "verdict": upgrade_verdict(content.get("verdict", "")),
        "checks": dict(checks),
    }


def _upgrade_check(
    name: str, value: float | None, threshold: str, status: str
) -> tuple[str, tuple[float | None, str, str]]:
    compared = threshold not in _SKIPPED and (name, value) != ("class losses", None)
    new = _STATUSES.get(status, status) if compared or status != "promote" else "skipped"
    return _CHECKS.get(name, name), (value, threshold, new)


def upgrade_verdict(verdict: str) -> str:
    """A verdict in the words of version 2, whichever version it was written by."""
    return _VERDICTS.get(verdict, verdict)


def upgrade_headline(description: str) -> str:
    """The first line of a version's description, its verdict in the words of version 2."""
    line = description.partition("\n")[0]
    word, space, rest = line.partition(" ")
    return f"{upgrade_verdict(word.lower())}{space}{rest}" if word.isupper() else line
