import hashlib
import json
import sqlite3
from datetime import datetime, timedelta
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from components.core.errors import PipelineError
from components.registry import audit_log
from components.registry.audit_log import AuditLog, AuditLogChanged, Event
from components.tracking.store import Store
from tests import processes
from tests.registry import NAME


def evaluated(version: str, **values: Any) -> Event:
    return Event(action="evaluated", version=version, model_digest="m", **values)


def written(store: Store, *versions: str) -> AuditLog:
    log = audit_log.read(store, NAME)
    for version in versions:
        log = audit_log.append(store, log, evaluated(version))
    return log


def test_a_model_that_does_not_exist_has_an_empty_audit_log(opened: Store) -> None:
    assert audit_log.read(opened, NAME) == AuditLog(NAME)


def test_events_come_back_in_order_with_actor_and_time(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    assert audit_log.read(opened, NAME) != written(opened, "1", "2", "3")
    log = audit_log.read(opened, NAME)
    assert [event.version for event in log.events] == ["1", "2", "3"]
    assert [event.seq for event in log.events] == [1, 2, 3]
    for event in log.events:
        assert event.actor.startswith("anna@")
        assert datetime.fromisoformat(event.time).utcoffset() == timedelta(0)


@pytest.mark.row("P22")
def test_each_event_holds_the_hash_of_the_one_before(opened: Store) -> None:
    log = written(opened, "1", "2")
    params = opened.client.get_run(log.run_id).data.params
    assert log.events[0].previous_hash == ""
    assert log.events[1].previous_hash == hashlib.sha256(params["000001"].encode()).hexdigest()
    assert log.head == hashlib.sha256(params["000002"].encode()).hexdigest()


def test_no_event_can_be_written_twice(opened: Store) -> None:
    log = written(opened, "1")
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        opened.client.log_param(log.run_id, "000001", "{}")


def test_the_slower_of_two_writers_is_refused_even_with_equal_words(opened: Store) -> None:
    log = written(opened, "1")
    audit_log.append(opened, log, evaluated("2"))
    with pytest.raises(AuditLogChanged, match="somebody else wrote event 2"):
        audit_log.append(opened, log, evaluated("2"))
    assert len(audit_log.read(opened, NAME).events) == 2


def test_two_processes_without_a_lock_overwrite_nothing(opened: Store) -> None:
    times = 8
    audit_log.ensure(opened, NAME)
    losses = processes.CONTEXT.Value("i", 0)
    writers = [processes.start(processes.append_many, times, losses) for _ in range(2)]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    events = audit_log.read(opened, NAME).events
    for process in {event.model_digest for event in events}:
        turns = [event.version for event in events if event.model_digest == process]
        assert turns == [str(turn) for turn in range(times)]
    assert len(events) == 2 * times


def tampered(store: str, statement: str) -> None:
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


@pytest.mark.row("P22")
@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("UPDATE params SET value = replace(value, '\"2\"', '\"9\"') WHERE key='000002'", 3),
        ("UPDATE params SET value = '{}' WHERE key='000002'", 2),
        ("DELETE FROM params WHERE key='000002'", 2),
        ("DELETE FROM params WHERE key='000001'", 1),
        ("UPDATE params SET key='000004' WHERE key='000003'", 3),
        (
            "UPDATE params SET value = replace(value, '\"seq\":3', '\"seq\":4') WHERE key='000003'",
            3,
        ),
    ],
)
def test_an_event_that_was_altered_or_removed_is_found(
    statement: str, place: int, opened: Store, store: str
) -> None:
    written(opened, "1", "2", "3")
    tampered(store, statement)
    with pytest.raises(PipelineError, match=f"broken at event {place} of"):
        audit_log.read(opened, NAME)


def test_an_audit_log_that_was_deleted_says_how_to_restore_it(opened: Store) -> None:
    run_id = written(opened, "1").run_id
    opened.client.delete_run(run_id)
    with pytest.raises(PipelineError, match=f"mlflow runs restore --run-id {run_id}"):
        audit_log.read(opened, NAME)
    opened.client.restore_run(run_id)
    assert len(audit_log.read(opened, NAME).events) == 1


def test_an_audit_log_whose_experiment_was_deleted_says_how_to_restore_it(opened: Store) -> None:
    run_id = written(opened, "1").run_id
    place = opened.client.get_run(run_id).info.experiment_id
    opened.client.delete_experiment(place)
    with pytest.raises(PipelineError, match=f"mlflow experiments restore --experiment-id {place}"):
        audit_log.read(opened, NAME)
    opened.client.restore_experiment(place)
    assert len(audit_log.read(opened, NAME).events) == 1


def test_a_tag_that_names_something_else_is_found(opened: Store) -> None:
    written(opened, "1")
    run = opened.client.create_run(opened.experiment_id)
    opened.client.set_registered_model_tag(NAME, "audit_log", run.info.run_id)
    with pytest.raises(PipelineError, match="which is not its audit log"):
        audit_log.read(opened, NAME)
    opened.client.set_registered_model_tag(NAME, "audit_log", "0" * 32)
    with pytest.raises(PipelineError, match="is gone"):
        audit_log.read(opened, NAME)


def test_a_model_that_somebody_else_made_gets_an_audit_log(opened: Store) -> None:
    opened.client.create_registered_model(NAME)
    log = written(opened, "1")
    assert opened.client.get_registered_model(NAME).tags["audit_log"] == log.run_id


def test_processes_without_a_lock_that_adopt_a_model_at_once_lose_no_event(
    opened: Store,
) -> None:
    opened.client.create_registered_model(NAME)
    losses = processes.CONTEXT.Value("i", 0)
    writers = [processes.start(processes.append_many, 3, losses) for _ in range(4)]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(audit_log.read(opened, NAME).events) == 12
    assert len(logs(opened)) == 1


def test_of_two_that_make_the_model_at_once_both_use_one_audit_log(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.create_registered_model
    others: list[str] = []

    def beaten(client: MlflowClient, *arguments: Any, **settings: Any) -> None:
        monkeypatch.setattr(MlflowClient, "create_registered_model", original)
        others.append(audit_log.ensure(opened, NAME).run_id)
        original(client, *arguments, **settings)

    monkeypatch.setattr(MlflowClient, "create_registered_model", beaten)
    assert [audit_log.ensure(opened, NAME).run_id] == others


def test_the_audit_log_lies_apart_from_the_runs(opened: Store) -> None:
    log = written(opened, "1")
    place = opened.client.get_run(log.run_id).info.experiment_id
    assert opened.client.get_experiment(place).name == f"{NAME} audit log"
    assert opened.client.search_runs([opened.experiment_id]) == []


def test_an_audit_log_that_an_earlier_version_made_among_the_runs_stays_there(
    opened: Store,
) -> None:
    tags = {"pipeline.kind": "audit_log", "pipeline.key": NAME}
    run_id = opened.client.create_run(opened.experiment_id, tags=tags).info.run_id
    opened.client.create_registered_model(NAME, tags={"audit_log": run_id})
    assert written(opened, "1").run_id == run_id
    assert len(audit_log.read(opened, NAME).events) == 1
    assert opened.client.get_experiment_by_name(f"{NAME} audit log") is None


def test_a_model_made_anew_under_an_old_name_begins_a_log_of_its_own(opened: Store) -> None:
    old = written(opened, "1")
    opened.client.delete_registered_model(NAME)
    new = written(opened, "2", "3")
    assert new.run_id != old.run_id
    assert [event.version for event in audit_log.read(opened, NAME).events] == ["2", "3"]


def test_processes_that_make_the_model_at_once_lose_no_event(opened: Store) -> None:
    losses = processes.CONTEXT.Value("i", 0)
    writers = [processes.start(processes.append_many, 3, losses) for _ in range(4)]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(audit_log.read(opened, NAME).events) == 12
    assert len(logs(opened)) == 1


def logs(store: Store) -> list[Run]:
    """All runs with an audit log that are not deleted."""
    ids = [experiment.experiment_id for experiment in store.client.search_experiments()]
    return list(store.client.search_runs(ids, "tags.`pipeline.kind` = 'audit_log'"))


def test_a_very_long_event_keeps_its_verdict_and_leaves_out_the_checks(opened: Store) -> None:
    checks = {f"check {k}": (0.5, "w" * 60, "fail") for k in range(100)}
    log = audit_log.ensure(opened, NAME)
    audit_log.append(
        opened, log, evaluated("1", checks=checks, reason="\u00e9" * 9000, verdict="blocked")
    )
    (event,) = audit_log.read(opened, NAME).events
    assert (event.checks, event.verdict, event.reason) == ({}, "blocked", "\u00e9" * 300)


def test_what_stands_in_the_database_is_plain_json(opened: Store) -> None:
    log = written(opened, "1")
    text = opened.client.get_run(log.run_id).data.params["000001"]
    assert text.isascii()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
