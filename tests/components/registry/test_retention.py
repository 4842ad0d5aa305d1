"""Which weights may go: values in, choices out."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.registry import champion as seats
from components.registry.audit_log import AuditLog, LoggedEvent
from components.registry.retention import RetentionDecision, RetentionPolicy, StoredModel, choose

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LIMITS = RetentionPolicy(days=30, keep=1)


def record(action: Any, version: str, **facts: Any) -> LoggedEvent:
    place = {
        "seq": 1,
        "before": "",
        "nonce": "n",
        "time": "2026-05-01T10:00:00+00:00",
        "who": "a@b",
    }
    facts = {"model_digest": f"digest of {version}", **place, **facts}
    return LoggedEvent(action=action, version=version, **facts)


def decided(version: str, verdict: str = "promote", champion: str = "") -> LoggedEvent:
    return record("decided", version, verdict=verdict, champion=champion)


def promoted(version: str, champion: str = "", cause: str = "gate") -> LoggedEvent:
    return record("promoted", version, champion=champion, cause=cause)


def package(version: str, days: int = 90, **facts: Any) -> StoredModel:
    return StoredModel(f"m-{version}", NOW - timedelta(days=days), version=version, **facts)


def reasons(
    records: Iterable[LoggedEvent], count: int, shown: dict[str, str] | None = None, keep: int = 1
) -> dict[str, str]:
    """Version -> why it stays; of `count` old versions."""
    packages = [package(str(number)) for number in range(1, count + 1)]
    log = AuditLog("cells", records=tuple(records))
    found = choose(packages, log, shown or {}, RetentionPolicy(30, keep), NOW)
    return {choice.package.version: choice.reason for choice in found}


def test_an_old_version_that_nobody_needs_goes() -> None:
    assert reasons([], 2) == {"1": "", "2": "it is one of the newest 1"}


def test_champion_and_the_one_before_stay_without_any_alias() -> None:
    log = [decided(n) for n in "1234"] + [promoted("1"), promoted("2", "1"), promoted("3", "2")]
    found = reasons([*log, decided("5")], 6)
    assert (found["1"], found["4"]) == ("", "")
    assert found["3"] == "it is `champion` in the journal"
    assert found["2"] == "it is `previous` in the journal"
    assert found["5"] == "it was judged last"


def test_any_alias_keeps_its_version() -> None:
    assert reasons([], 3, {"factory-7": "1"})["1"] == "`factory-7` names it"


def test_a_version_that_waits_for_a_person_stays_until_it_is_ruled_on() -> None:
    waiting = [decided("1", "hold"), decided("2"), decided("3")]
    assert reasons(waiting, 4)["1"] == "it waits for `approve` or `reject`"
    assert reasons([*waiting, record("rejected", "1")], 4)["1"] == ""
    ruled = [*waiting, promoted("1", cause="approved"), promoted("2", "1"), promoted("3", "2")]
    assert reasons(ruled, 4)["1"] == ""


def test_both_ends_of_a_promotion_under_way_stay() -> None:
    log = [decided("1"), decided("2"), decided("3"), record("promoting", "2", champion="1")]
    found = reasons(log, 4)
    assert found["1"] == found["2"] == "`rollback` may need it"


def test_the_model_that_the_champion_was_compared_with_stays() -> None:
    log = [decided("1"), promoted("1"), decided("2", champion="1"), promoted("2", "1")]
    log += [decided("3", champion="2"), promoted("3", "2"), promoted("2", "3", "rolled_back")]
    assert reasons([*log, decided("4", champion="2")], 5)["1"] == "version 2 was compared with it"


def test_the_age_is_counted_to_the_second() -> None:
    newer = package("9", 0)
    edge = replace(package("1"), created=NOW - timedelta(days=30))
    older = replace(package("2"), created=NOW - timedelta(days=30, seconds=1))
    found = choose([edge, older, newer], AuditLog("cells"), {}, LIMITS, NOW)
    assert [c.reason for c in found[:2]] == ["it is younger than 30 days", ""]


def test_an_upload_without_a_version_goes_when_it_is_old() -> None:
    uploads = [package("", days) for days in (29, 31)]
    found = choose(uploads, AuditLog("cells"), {}, LIMITS, NOW)
    assert [c.reason for c in found] == ["it is younger than 30 days", ""]


def test_what_is_not_ours_stays() -> None:
    foreign = package("1", foreign="version 4 of others uses its files")
    (found, _) = choose([foreign, package("2")], AuditLog("cells"), {}, LIMITS, NOW)
    assert found.reason == "version 4 of others uses its files"


def test_a_removal_that_was_interrupted_is_finished() -> None:
    log = AuditLog("cells", records=(record("pruned", "1"), record("pruned", "2")))
    packages = [package("1"), package("2", stored=False), package("3")]
    found = choose(packages, log, {}, LIMITS, NOW)
    assert [c.reason for c in found[:2]] == ["", "its weights are gone already"]


def test_a_forged_record_of_a_removal_deletes_nothing_that_is_needed_or_young() -> None:
    log = [decided("1", "hold"), decided("2"), decided("3"), promoted("3")]
    found = reasons([*log, *(record("pruned", n) for n in "1234")], 4)
    assert [version for version, why in found.items() if not why] == ["2"]
    packages = [package("2", 29), package("3")]
    (young, _) = choose(
        packages, AuditLog("cells", records=(record("pruned", "2"),)), {}, LIMITS, NOW
    )
    assert young.reason == "it is younger than 30 days"


VERSIONS = st.sampled_from([str(number) for number in range(1, 8)])
RECORDS = st.builds(
    record,
    st.sampled_from(["decided", "promoting", "promoted", "void", "rejected", "pruned"]),
    VERSIONS,
    champion=VERSIONS | st.just(""),
    verdict=st.sampled_from(["promote", "hold", "error"]),
    cause=st.sampled_from(["gate", "approved", "rolled_back"]),
    model_digest=st.sampled_from(["a", "b", "c"]),
)
PACKAGES = st.lists(
    st.builds(package, VERSIONS, st.integers(0, 99), stored=st.booleans()),
    unique_by=lambda found: found.version,
)
SHOWN = st.dictionaries(st.sampled_from(["champion", "previous", "candidate", "mine"]), VERSIONS)
LIMIT = st.builds(RetentionPolicy, st.integers(1, 99), st.integers(1, 4))


def going(choices: Iterable[RetentionDecision]) -> set[str]:
    return {choice.package.version for choice in choices if not choice.reason}


@given(PACKAGES, st.lists(RECORDS, max_size=12), SHOWN, LIMIT)
def test_no_history_whatever_lets_a_version_go_that_is_needed(
    packages: list[StoredModel],
    records: list[LoggedEvent],
    shown: dict[str, str],
    limits: RetentionPolicy,
) -> None:
    log = AuditLog("cells", records=tuple(records))
    gone = going(choose(packages, log, shown, limits, NOW))
    assert not gone & set(shown.values())
    judged = {r.version for r in records if r.action == "decided"}
    waiting = {
        v
        for v in judged
        if (found := log.verdict_on(v)) and found.verdict == "hold" and not seats.ruling(log, v)
    }
    assert not gone & (waiting | set(seats.expected_aliases(log).values()))
    for seated in (log.champion, log.open):
        assert not seated or not gone & {seated.version, seated.champion}
    living = sorted(int(p.version) for p in packages if p.stored)
    assert not gone & {str(number) for number in living[-limits.keep :]}
    ages = {p.version: (NOW - p.created).days for p in packages}
    assert all(ages[version] > limits.days for version in gone)


@given(PACKAGES, st.lists(RECORDS, max_size=12), SHOWN, LIMIT)
def test_what_is_done_once_leaves_nothing_to_do(
    packages: list[StoredModel],
    records: list[LoggedEvent],
    shown: dict[str, str],
    limits: RetentionPolicy,
) -> None:
    log = AuditLog("cells", records=tuple(records))
    gone = going(choose(packages, log, shown, limits, NOW))
    after = replace(log, records=(*records, *(record("pruned", version) for version in gone)))
    left = [replace(p, stored=p.stored and p.version not in gone) for p in packages]
    assert going(choose(left, after, shown, limits, NOW)) == set()


@given(PACKAGES, st.lists(RECORDS, max_size=12), SHOWN, LIMIT)
def test_looser_limits_never_let_more_go(
    packages: list[StoredModel],
    records: list[LoggedEvent],
    shown: dict[str, str],
    limits: RetentionPolicy,
) -> None:
    log = AuditLog("cells", records=tuple(records))
    gone = going(choose(packages, log, shown, limits, NOW))
    for looser in (replace(limits, days=limits.days + 9), replace(limits, keep=limits.keep + 2)):
        assert going(choose(packages, log, shown, looser, NOW)) <= gone
