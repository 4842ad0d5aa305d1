"""Which weights may go: values in, decisions out."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.registry import champion
from components.registry.audit_log import AuditLog, LoggedEvent
from components.registry.retention import RetentionDecision, RetentionPolicy, StoredModel, decide

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = RetentionPolicy(days=30, keep=1)


def logged(action: Any, version: str, **facts: Any) -> LoggedEvent:
    place = {
        "seq": 1,
        "previous_hash": "",
        "nonce": "n",
        "time": "2026-05-01T10:00:00+00:00",
        "actor": "a@b",
    }
    facts = {"model_digest": f"digest of {version}", **place, **facts}
    return LoggedEvent(action=action, version=version, **facts)


def evaluated(version: str, verdict: str = "passed", champion: str = "") -> LoggedEvent:
    return logged("evaluated", version, verdict=verdict, champion=champion)


def promoted(version: str, champion: str = "", trigger: str = "gate") -> LoggedEvent:
    return logged("promotion_completed", version, champion=champion, trigger=trigger)


def model(version: str, days: int = 90, **facts: Any) -> StoredModel:
    return StoredModel(f"m-{version}", NOW - timedelta(days=days), version=version, **facts)


def reasons(
    events: Iterable[LoggedEvent], count: int, aliases: dict[str, str] | None = None, keep: int = 1
) -> dict[str, str]:
    """Version -> why it stays; of `count` old versions."""
    models = [model(str(number)) for number in range(1, count + 1)]
    log = AuditLog("cells", events=tuple(events))
    found = decide(models, log, aliases or {}, RetentionPolicy(30, keep), NOW)
    return {decision.model.version: decision.reason for decision in found}


def test_an_old_version_that_nobody_needs_goes() -> None:
    assert reasons([], 2) == {"1": "", "2": "it is one of the newest 1"}


@pytest.mark.row("P20")
def test_champion_and_the_one_before_stay_without_any_alias() -> None:
    log = [evaluated(n) for n in "1234"] + [promoted("1"), promoted("2", "1"), promoted("3", "2")]
    found = reasons([*log, evaluated("5")], 6)
    assert (found["1"], found["4"]) == ("", "")
    assert found["3"] == "it is `champion` in the audit log"
    assert found["2"] == "it is `previous` in the audit log"
    assert found["5"] == "it was evaluated last"


def test_any_alias_keeps_its_version() -> None:
    assert reasons([], 3, {"factory-7": "1"})["1"] == "`factory-7` names it"


def test_a_version_that_waits_for_a_person_stays_until_it_is_ruled_on() -> None:
    waiting = [evaluated("1", "blocked"), evaluated("2"), evaluated("3")]
    assert reasons(waiting, 4)["1"] == "it waits for `approve` or `reject`"
    assert reasons([*waiting, logged("rejected", "1")], 4)["1"] == ""
    ruled = [*waiting, promoted("1", trigger="approved"), promoted("2", "1"), promoted("3", "2")]
    assert reasons(ruled, 4)["1"] == ""


def test_both_ends_of_a_promotion_under_way_stay() -> None:
    log = [
        evaluated("1"),
        evaluated("2"),
        evaluated("3"),
        logged("promotion_started", "2", champion="1"),
    ]
    found = reasons(log, 4)
    assert found["1"] == found["2"] == "`rollback` may need it"


def test_the_model_that_the_champion_was_compared_with_stays() -> None:
    log = [evaluated("1"), promoted("1"), evaluated("2", champion="1"), promoted("2", "1")]
    log += [evaluated("3", champion="2"), promoted("3", "2"), promoted("2", "3", "rolled_back")]
    assert reasons([*log, evaluated("4", champion="2")], 5)["1"] == "version 2 was compared with it"


def test_the_age_is_counted_to_the_second() -> None:
    newer = model("9", 0)
    edge = replace(model("1"), created=NOW - timedelta(days=30))
    older = replace(model("2"), created=NOW - timedelta(days=30, seconds=1))
    found = decide([edge, older, newer], AuditLog("cells"), {}, POLICY, NOW)
    assert [c.reason for c in found[:2]] == ["it is younger than 30 days", ""]


def test_an_upload_without_a_version_goes_when_it_is_old() -> None:
    uploads = [model("", days) for days in (29, 31)]
    found = decide(uploads, AuditLog("cells"), {}, POLICY, NOW)
    assert [c.reason for c in found] == ["it is younger than 30 days", ""]


def test_what_is_not_ours_stays() -> None:
    others = model("1", not_ours="version 4 of others uses its files")
    (found, _) = decide([others, model("2")], AuditLog("cells"), {}, POLICY, NOW)
    assert found.reason == "version 4 of others uses its files"


def test_a_deletion_that_was_interrupted_is_finished() -> None:
    log = AuditLog("cells", events=(logged("pruned", "1"), logged("pruned", "2")))
    models = [model("1"), model("2", stored=False), model("3")]
    found = decide(models, log, {}, POLICY, NOW)
    assert [c.reason for c in found[:2]] == ["", "its weights are gone already"]


def test_a_forged_event_of_a_deletion_deletes_nothing_that_is_needed_or_young() -> None:
    log = [evaluated("1", "blocked"), evaluated("2"), evaluated("3"), promoted("3")]
    found = reasons([*log, *(logged("pruned", n) for n in "1234")], 4)
    assert [version for version, why in found.items() if not why] == ["2"]
    models = [model("2", 29), model("3")]
    (young, _) = decide(models, AuditLog("cells", events=(logged("pruned", "2"),)), {}, POLICY, NOW)
    assert young.reason == "it is younger than 30 days"


VERSIONS = st.sampled_from([str(number) for number in range(1, 8)])
EVENTS = st.builds(
    logged,
    st.sampled_from(
        [
            "evaluated",
            "promotion_started",
            "promotion_completed",
            "promotion_aborted",
            "rejected",
            "pruned",
        ]
    ),
    VERSIONS,
    champion=VERSIONS | st.just(""),
    verdict=st.sampled_from(["passed", "blocked", "error"]),
    trigger=st.sampled_from(["gate", "approved", "rolled_back"]),
    model_digest=st.sampled_from(["a", "b", "c"]),
)
MODELS = st.lists(
    st.builds(model, VERSIONS, st.integers(0, 99), stored=st.booleans()),
    unique_by=lambda found: found.version,
)
ALIASES = st.dictionaries(st.sampled_from(["champion", "previous", "candidate", "mine"]), VERSIONS)
POLICIES = st.builds(RetentionPolicy, st.integers(1, 99), st.integers(1, 4))


def going(decisions: Iterable[RetentionDecision]) -> set[str]:
    return {decision.model.version for decision in decisions if not decision.reason}


@pytest.mark.row("P20")
@given(MODELS, st.lists(EVENTS, max_size=12), ALIASES, POLICIES)
def test_no_history_whatever_lets_a_version_go_that_is_needed(
    models: list[StoredModel],
    events: list[LoggedEvent],
    aliases: dict[str, str],
    policy: RetentionPolicy,
) -> None:
    log = AuditLog("cells", events=tuple(events))
    gone = going(decide(models, log, aliases, policy, NOW))
    assert not gone & set(aliases.values())
    evaluated = {r.version for r in events if r.action == "evaluated"}
    waiting = {
        v
        for v in evaluated
        if (found := log.evaluation_of(v))
        and found.verdict == "blocked"
        and not champion.manual_decision(log, v)
    }
    assert not gone & (waiting | set(champion.expected_aliases(log).values()))
    for event in (log.champion, log.pending):
        assert not event or not gone & {event.version, event.champion}
    living = sorted(int(p.version) for p in models if p.stored)
    assert not gone & {str(number) for number in living[-policy.keep :]}
    ages = {p.version: (NOW - p.created).days for p in models}
    assert all(ages[version] > policy.days for version in gone)


@given(MODELS, st.lists(EVENTS, max_size=12), ALIASES, POLICIES)
def test_what_is_done_once_leaves_nothing_to_do(
    models: list[StoredModel],
    events: list[LoggedEvent],
    aliases: dict[str, str],
    policy: RetentionPolicy,
) -> None:
    log = AuditLog("cells", events=tuple(events))
    gone = going(decide(models, log, aliases, policy, NOW))
    after = replace(log, events=(*events, *(logged("pruned", version) for version in gone)))
    left = [replace(p, stored=p.stored and p.version not in gone) for p in models]
    assert going(decide(left, after, aliases, policy, NOW)) == set()


@given(MODELS, st.lists(EVENTS, max_size=12), ALIASES, POLICIES)
def test_looser_policies_never_let_more_go(
    models: list[StoredModel],
    events: list[LoggedEvent],
    aliases: dict[str, str],
    policy: RetentionPolicy,
) -> None:
    log = AuditLog("cells", events=tuple(events))
    gone = going(decide(models, log, aliases, policy, NOW))
    for looser in (replace(policy, days=policy.days + 9), replace(policy, keep=policy.keep + 2)):
        assert going(decide(models, log, aliases, looser, NOW)) <= gone
