"""Decision records of schema version 1, read in today's words.

Only names change: values, thresholds and messages stay as they were written. Version 1 called a
check that had no bound, or nothing to compare with, `promote`; here it is `skipped`.
"""

from collections.abc import Mapping
from typing import Any

_VERDICTS = {"promote": "passed", "hold": "blocked", "error": "error"}
_STATUSES = {"promote": "pass", "hold": "fail", "warn": "warn", "error": "error"}

_CHECKS = {
    "leak": "data leakage",
    "answers": "prediction diversity",
    "class losses": "per-class regression",
    "too good": "implausible result",
    "history": "revocation",
    "test set wear": "test-set reuse",
}

# What stood for `nothing was required`, and the checks that had no value when they were skipped.
_UNBOUNDED = ("no bound", "no champion yet", "itself")
_UNMEASURED = ("class losses", "latency")

_FIELDS = {
    "wanted": "threshold",
    "reason": "message",
    "verdict": "status",
}
_EVIDENCE = {
    "earlier_uses": "previous_test_uses",
    "shared_with_training": "leaked_test_images",
    "withdrawn": "revoked_reason",
}
_POLICY = {
    "confidence": "confidence_level",
    "against_champion": "champion_test",
    "margin": "non_inferiority_margin",
    "max_class_loss": "max_class_recall_drop",
    "max_gain": "max_accuracy_gain",
    "free_test_uses": "max_test_set_uses",
}
_DATA_DIFF = {"relabelled": "relabeled"}


def is_version_1(raw: object) -> bool:
    """Whether these are the fields of a record of schema version 1."""
    return isinstance(raw, Mapping) and raw.get("schema_version") == 1


def upgrade(raw: Any) -> Any:
    """The fields of a record with the names of schema version 2; anything else as it is.

    Raises:
        ValueError: it says that it is of version 1, but is not.
    """
    if not is_version_1(raw):
        return raw
    try:
        record = dict(raw) | {"schema_version": 2, "outcome": _outcome(raw["decision"])}
        del record["decision"]
        record["evidence"] = _renamed(raw["evidence"], _EVIDENCE)
        record["policy"] = _renamed(raw["policy"], _POLICY)
        diff = _renamed(raw["data_diff"], _DATA_DIFF)
        record["data_diff"] = diff | {"examples": _renamed(diff["examples"], _DATA_DIFF)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"is no record of schema version 1: {error!r}") from error
    return record


def _outcome(decision: Mapping[str, Any]) -> dict[str, Any]:
    return dict(decision) | {
        "verdict": _VERDICTS[decision["verdict"]],
        "accuracy": None,
        "checks": [upgrade_check(check) for check in decision["checks"]],
    }


def upgrade_check(check: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a check with the names of schema version 2."""
    name, wanted = check["name"], check["wanted"]
    unmeasured = check["value"] is None and name in _UNMEASURED
    skipped = check["verdict"] == "promote" and (wanted in _UNBOUNDED or unmeasured)
    return _renamed(check, _FIELDS) | {
        "name": _CHECKS.get(name, name),
        "status": "skipped" if skipped else _STATUSES[check["verdict"]],
    }


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
