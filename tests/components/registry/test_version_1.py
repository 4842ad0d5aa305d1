"""A real registry of schema version 1: read, shown in today's words, and continued.

`version_1/` was made by the last commit that wrote version 1; see its README.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from components.core.errors import PipelineError
from components.core.gate.record import DecisionRecord
from components.io import files
from components.registry import (
    approvals,
    audit_log,
    champion,
    decisions,
    deletion,
    promotion,
    version_1,
    versions,
)
from components.registry.retention import RetentionPolicy
from components.registry.versions import Version
from components.tracking.runs import Run, open_run
from components.tracking.store import Store, open_store
from pipeline.cli import main
from tests import registry
from tests.components.registry.version_1.rebuild import REGISTRY, rebuild
from tests.local_store import LocalStore
from tests.registry import NAME, add_version, champion_version

EXPECTED = REGISTRY.parent / "expected"
MODEL = ["--model", NAME]

# Written down once more, so that a wrong line in the product is seen.
FIELDS = {"who": "actor", "cause": "trigger", "before": "previous_hash"}
FIELDS |= {"receipt_sha256": "decision_sha256"}
ACTIONS = {"decided": "evaluated", "rejected": "rejected", "pruned": "pruned"}
ACTIONS |= {"promoting": "promotion_started", "promoted": "promotion_completed"}
ACTIONS |= {"void": "promotion_aborted"}
VERDICTS = {"promote": "passed", "hold": "blocked", "error": "error"}
CHECKS = {"leak": "data leakage", "answers": "prediction diversity", "history": "revocation"}
CHECKS |= {"class losses": "per-class regression", "too good": "implausible result"}
CHECKS |= {"test set wear": "test-set reuse"}
STATUSES = {"promote": {"pass", "skipped"}, "hold": {"fail"}, "warn": {"warn"}, "error": {"error"}}

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def old(store: str, local_store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The registry as it was left: champion 2, previous 3, candidate 5, version 4 pruned."""
    local_store.set_up("version 1", lambda: rebuild(store))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "berta")
    with open_store() as opened:
        yield opened


def expected(name: str) -> Any:
    return json.loads((EXPECTED / f"{name}.txt").read_text(encoding="utf-8"))


def printed(capsys: Capture, *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*words, *MODEL, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_history_reads_unbroken_and_says_the_same_in_new_words(old: Store, capsys: Capture) -> None:
    found = printed(capsys, "history")
    stored = expected("history-json")
    assert len(found) == len(stored) == 19
    for new, was in zip(found, stored, strict=True):
        checks = was.pop("checks")
        assert {name for name in new if name not in was} == {
            *FIELDS.values(),
            "schema_version",
            "checks",
        }
        for name, value in was.items():
            words = {"action": ACTIONS, "verdict": VERDICTS}.get(name, {})
            assert new[FIELDS.get(name, name)] == words.get(value, value)
        assert list(new["checks"]) == [CHECKS.get(name, name) for name in checks]
        for name, (value, threshold, verdict) in checks.items():
            assert new["checks"][CHECKS.get(name, name)][:2] == [value, threshold]
            assert new["checks"][CHECKS.get(name, name)][2] in STATUSES[verdict]
    assert main(["history", *MODEL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "19 events, each with the hash of the one before: unbroken"
    assert "blocked" in lines[7]
    assert not [word for word in ("HOLD", "PASS", "promoting", "void") if word in str(lines)]


def test_what_had_no_bound_or_no_champion_is_skipped_and_not_passed(old: Store) -> None:
    first = audit_log.read(old, NAME).events[0]
    skipped = {name for name, check in first.checks.items() if check[2] == "skipped"}
    assert skipped == {
        "calibration", "champion", "per-class regression", "implausible result", "latency",
    }  # fmt: skip


def test_status_shows_champion_previous_and_candidate(old: Store, capsys: Capture) -> None:
    found, was = printed(capsys, "status"), expected("status-json")
    assert (found["problems"], found["pending"]) == ([], "")
    words = {"PASS": "passed", "HOLD": "blocked", "judged": "evaluated"}
    for alias in ("champion", "previous", "candidate"):
        word, _, rest = was[alias]["verdict"].partition(" ")
        verdict, how = f"{words[word]} {rest}", was[alias]["how"]
        changed = {"verdict": verdict, "how": words.get(how, how)}
        assert f"/versions/{found[alias]['version']}?" in found[alias].pop("link")
        assert found[alias] == was[alias] | changed
    assert [found[alias]["version"] for alias in ("champion", "previous", "candidate")] == [*"235"]


@pytest.mark.parametrize("version", ["1", "2", "3", "4", "5", "6"])
def test_review_ends_as_before_for_every_version(version: str, old: Store, capsys: Capture) -> None:
    codes = dict(line.split() for line in (EXPECTED / "exit_codes.txt").read_text().splitlines())
    assert main(["review", version, *MODEL]) == int(codes[f"review-{version}"])
    output = capsys.readouterr().out
    verdict = {"1": "passed", "2": "passed", "6": "error"}.get(version, "blocked")
    assert output.startswith(
        f"cells version {version}: {verdict} 0." if version != "2" else "cells version 2: passed 1."
    )
    if version == "4":
        assert "rejected 2026-11-25" in output
        assert "its weights were pruned on 2026-11-25" in output


@pytest.mark.parametrize("version", ["3", "6"])
def test_a_review_has_the_same_numbers_and_changed_images(
    version: str, old: Store, capsys: Capture
) -> None:
    found, was = printed(capsys, "review", version, code=3), expected(f"review-{version}-json")
    assert found["changes"] == was["changes"]
    assert found["champion_now"] == was["champion_now"]
    assert found["outcome"]["verdict"] == VERDICTS[was["decision"]["verdict"]]
    old_checks = was["decision"]["checks"]
    assert len(found["outcome"]["checks"]) == len(old_checks)
    for new, check in zip(found["outcome"]["checks"], old_checks, strict=True):
        assert new["name"] == CHECKS.get(check["name"], check["name"])
        assert (new["value"], new["threshold"]) == (check["value"], check["wanted"])
        assert new["status"] in STATUSES[check["verdict"]]


def test_sync_finds_both_old_decisions_done(old: Store, capsys: Capture) -> None:
    assert main(["sync", *MODEL]) == 0
    text = (EXPECTED / "sync-dry-run.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    assert len(audit_log.read(old, NAME).events) == 19


@pytest.mark.usefixtures("verified")
def test_a_version_that_was_blocked_then_can_be_approved_now(old: Store) -> None:
    result = approvals.approve(old, NAME, "5", "checked", confirm=lambda _: True)
    assert result.state == "done"
    assert champion.aliases(old, NAME) == {"champion": "5", "previous": "2", "candidate": "5"}
    assert "rolled back by anna@desk" in champion.revoked_reason(
        audit_log.read(old, NAME), audit_log.read(old, NAME).events[6].model_digest
    )
    registry.require_consistent(old)


def test_a_version_that_was_blocked_then_can_be_rejected_now(old: Store) -> None:
    before = audit_log.read(old, NAME)
    assert approvals.reject(old, NAME, "5", "blurred", confirm=lambda _: True).state == "done"
    after = audit_log.read(old, NAME)
    assert (after.run_id, after.events[:-1]) == (before.run_id, before.events)
    last = after.events[-1]
    assert (last.action, last.version, last.reason) == ("rejected", "5", "blurred")
    assert last.actor.startswith("berta@")
    assert (last.verdict, last.decision_sha256) == ("blocked", before.events[16].decision_sha256)
    assert approvals.reject(old, NAME, "4", "x", confirm=lambda _: True).state == "unchanged"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("6", "its verdict is error"),
        ("4", "its weights were pruned"),
        ("1", "it passed the gate"),
    ],
)
def test_what_could_not_be_approved_then_cannot_be_now(
    version: str, message: str, old: Store
) -> None:
    with pytest.raises(PipelineError, match=message):
        approvals.approve(old, NAME, version, "x", confirm=lambda _: True)
    assert champion_version(old) == "2"


@pytest.mark.usefixtures("verified")
def test_a_rollback_goes_where_it_went_before(old: Store) -> None:
    def rollback(version: str | None) -> approvals.Result:
        return approvals.rollback(old, NAME, version, "x", confirm=lambda _: True)

    assert rollback(None).state == "unchanged"
    with pytest.raises(PipelineError, match="version 4 never was champion; these were: 1, 2, 3"):
        rollback("4")
    assert rollback("3").state == "done"
    assert champion.aliases(old, NAME).items() >= {"champion": "3", "previous": "2"}.items()


def stored_texts(store: Store) -> list[str]:
    params = store.client.get_run(audit_log.read(store, NAME).run_id).data.params
    return [params[key] for key in sorted(params)]


def test_a_promotion_continues_the_chain_over_a_champion_of_version_1(old: Store) -> None:
    texts = stored_texts(old)
    version = add_version(old, "new")
    over = promotion.current_champion(old, NAME)
    assert over.version == "2"
    promotion.promote(old, NAME, version, over=over)
    assert champion.aliases(old, NAME).items() >= {"champion": version, "previous": "2"}.items()
    assert stored_texts(old)[:19] == texts
    new = [json.loads(text) for text in stored_texts(old)[19:]]
    assert [event["schema_version"] for event in new] == [2, 2, 2]
    assert new[0]["previous_hash"] == hashlib.sha256(texts[-1].encode()).hexdigest()
    promotions = registry.require_consistent(old)
    assert [event.version for event in promotions] == ["1", "2", "3", "2", version]
    model = old.client.get_registered_model(NAME)
    assert set(model.tags) == {version_1.TAG}


def test_one_changed_letter_of_an_old_event_is_found(old: Store, store: str) -> None:
    import sqlite3

    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        change = "UPDATE params SET value = replace(value, 'flicker', 'Flicker') WHERE key='000014'"
        assert database.execute(change).rowcount == 1
    database.close()
    with pytest.raises(PipelineError, match="broken at event 15 of 19"):
        audit_log.read(old, NAME)


def test_an_event_of_a_later_version_is_refused_by_name(old: Store) -> None:
    log = audit_log.read(old, NAME)
    text = json.dumps({"schema_version": 3, "seq": 20, "previous_hash": log.head})
    old.client.log_param(log.run_id, "000020", text)
    with pytest.raises(PipelineError, match=r"event 20 .* has schema version 3"):
        audit_log.read(old, NAME)


@pytest.mark.parametrize("moved", [False, True])
def test_a_promotion_that_version_1_left_pending_is_completed(moved: bool, store: str) -> None:
    rebuild(store, events=10, aliases={"champion": "3" if moved else "2", "previous": "2"})
    with open_store() as opened:
        status, log = champion.read_champion(opened, NAME)
        assert log.pending is not None
        assert (status.version, log.pending.version, log.pending.trigger) == ("2", "3", "approved")
        assert promotion.current_champion(opened, NAME).version == "3"
        last = audit_log.read(opened, NAME).events[-1]
        assert (last.action, last.reason) == ("promotion_completed", "looked at all four")
        assert champion.aliases(opened, NAME) == {"champion": "3", "previous": "2"}


def test_a_promotion_that_version_1_left_pending_is_aborted_if_the_version_is_unfit(
    store: str,
) -> None:
    rebuild(store, events=10, aliases={"champion": "2", "previous": "1"})
    with open_store() as opened:
        opened.client.set_model_version_tag(NAME, "3", "verified", "changed")
        assert promotion.current_champion(opened, NAME).version == "2"
        assert audit_log.read(opened, NAME).events[-1].action == "promotion_aborted"
        assert champion.aliases(opened, NAME) == {"champion": "2", "previous": "1"}


def test_the_uses_of_a_test_set_are_counted_over_both_versions(old: Store) -> None:
    tests = [event.test_digest for event in audit_log.read(old, NAME).events]
    for test, uses in ((tests[0], 3), (tests[11], 1), (tests[16], 2), ("never seen", 0)):
        with open_run(kind="model", name="n", key=f"new {test}", tags={"test": test}) as run:
            assert run.count_earlier("test") == uses


def test_what_was_pruned_stays_pruned(old: Store, tmp_path: Path) -> None:
    policy, later = RetentionPolicy(days=1, keep=1), datetime.now(UTC) + timedelta(days=99)
    plan = deletion.plan_deletion(old, NAME, policy, later)
    reasons = {decision.model.version: decision.reason for decision in plan.decisions}
    assert reasons == {
        "1": "version 2 was compared with it",
        "2": "`champion` names it",
        "3": "`previous` names it",
        "4": "its weights are gone already",
        "5": "`candidate` names it",
        "6": "it was evaluated last",
    }
    with pytest.raises(PipelineError, match="version 4 cannot be used: its weights were pruned"):
        versions.download_model(old, NAME, "4", tmp_path)


def continue_run(store: Store, version: str) -> tuple[Run, Version]:
    found = store.client.get_model_version(NAME, version)
    run = store.client.get_run(str(found.run_id))
    return Run(store, run), Version(NAME, version, created=False, tags=dict(found.tags))


def test_the_same_decision_is_no_new_event_and_gets_the_new_words(
    old: Store, tmp_path: Path
) -> None:
    run, version = continue_run(old, "5")
    log = audit_log.read(old, NAME)
    path = decisions.load_decision(old, log, "5", tmp_path).path
    versions.record_decision(run, version, decision=path, description="blocked 0.949")
    assert audit_log.read(old, NAME).head == log.head
    assert old.client.get_model_version(NAME, "5").tags["gate"] == "blocked"
    assert old.client.get_run(run.id).data.tags["gate"] == "blocked"


def test_a_decision_of_version_2_on_an_old_version_is_a_new_event(
    old: Store, tmp_path: Path
) -> None:
    run, version = continue_run(old, "5")
    path = decisions.load_decision(old, audit_log.read(old, NAME), "5", tmp_path).path
    again = tmp_path / "decision.json"
    files.write_artifact(again, files.read_artifact(path, DecisionRecord))
    versions.record_decision(run, version, decision=again, description="blocked 0.949")
    last = audit_log.read(old, NAME).events[-1]
    assert (last.action, last.version, last.verdict) == ("evaluated", "5", "blocked")
    assert last.champion == "2"
    assert last.decision_sha256 == files.digest_file(again)
    assert last.checks["accuracy"][2] == "fail"


def test_a_model_made_now_has_the_new_tag_and_kind(opened: Store) -> None:
    log = audit_log.ensure(opened, NAME)
    assert opened.client.get_registered_model(NAME).tags == {"audit_log": log.run_id}
    run = opened.client.get_run(log.run_id)
    assert run.data.tags["pipeline.kind"] == "audit_log"
    assert run.info.run_name == f"audit log of {NAME}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("PASS 0.9 accuracy\n\n| HOLD |", "passed 0.9 accuracy"),
        ("HOLD 0.9", "blocked 0.9"),
        ("ERROR 0.5", "error 0.5"),
        ("passed 0.9", "passed 0.9"),
        ("Our best one", "Our best one"),
        ("PASSAGE of time", "PASSAGE of time"),
        ("", ""),
    ],
)
def test_the_head_of_a_description_is_shown_in_new_words(text: str, shown: str) -> None:
    assert version_1.upgrade_headline(text) == shown


def test_the_new_tag_counts_where_both_are_set(old: Store, store: str) -> None:
    run_id = audit_log.read(old, NAME).run_id
    client = MlflowClient(store)
    client.set_registered_model_tag(NAME, "audit_log", run_id)
    client.set_registered_model_tag(NAME, version_1.TAG, "0" * 32)
    assert len(audit_log.read(old, NAME).events) == 19
