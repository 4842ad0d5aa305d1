import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components.core.errors import PipelineError
from components.registry import audit_log as journal
from components.registry.audit_log import AuditLog, AuditLogMoved, Event
from components.tracking.store import Store, open_store
from tests.services import actors
from tests.services.actors import NAME


@pytest.fixture
def opened(store: str) -> Iterator[Store]:
    with open_store() as opened:
        yield opened


def entry(version: str, **values: Any) -> Event:
    return Event(action="decided", version=version, model_digest="m", **values)


def written(store: Store, *versions: str) -> AuditLog:
    log = journal.read(store, NAME)
    for version in versions:
        log = journal.append(store, log, entry(version))
    return log


def test_a_model_that_does_not_exist_has_an_empty_journal(opened: Store) -> None:
    assert journal.read(opened, NAME) == AuditLog(NAME)


def test_records_come_back_in_order_with_who_and_when(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    assert journal.read(opened, NAME) != written(opened, "1", "2", "3")
    log = journal.read(opened, NAME)
    assert [record.version for record in log.records] == ["1", "2", "3"]
    assert [record.seq for record in log.records] == [1, 2, 3]
    for record in log.records:
        assert record.who.startswith("anna@")
        assert datetime.fromisoformat(record.time).utcoffset() == timedelta(0)


def test_each_record_holds_the_hash_of_the_one_before(opened: Store) -> None:
    log = written(opened, "1", "2")
    params = opened.client.get_run(log.run_id).data.params
    assert log.records[0].before == ""
    assert log.records[1].before == hashlib.sha256(params["000001"].encode()).hexdigest()
    assert log.head == hashlib.sha256(params["000002"].encode()).hexdigest()


def test_no_record_can_be_written_twice(opened: Store) -> None:
    log = written(opened, "1")
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        opened.client.log_param(log.run_id, "000001", "{}")


def test_the_slower_of_two_writers_is_refused_even_with_equal_words(opened: Store) -> None:
    log = written(opened, "1")
    journal.append(opened, log, entry("2"))
    with pytest.raises(AuditLogMoved, match="somebody else wrote record 2"):
        journal.append(opened, log, entry("2"))
    assert len(journal.read(opened, NAME).records) == 2


def test_two_processes_without_a_lock_overwrite_nothing(opened: Store) -> None:
    times = 15
    journal.ensure(opened, NAME)
    losses = actors.CONTEXT.Value("i", 0)
    writers = [actors.start(actors.append_many, times, losses) for _ in range(2)]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    records = journal.read(opened, NAME).records
    for process in {record.model_digest for record in records}:
        turns = [record.version for record in records if record.model_digest == process]
        assert turns == [str(turn) for turn in range(times)]
    assert len(records) == 2 * times


def tampered(store: str, statement: str) -> None:
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


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
def test_a_record_that_was_altered_or_removed_is_found(
    statement: str, place: int, opened: Store, store: str
) -> None:
    written(opened, "1", "2", "3")
    tampered(store, statement)
    with pytest.raises(PipelineError, match=f"broken at record {place} of"):
        journal.read(opened, NAME)


def test_a_journal_that_was_deleted_says_how_to_restore_it(opened: Store) -> None:
    run_id = written(opened, "1").run_id
    opened.client.delete_run(run_id)
    with pytest.raises(PipelineError, match=f"mlflow runs restore --run-id {run_id}"):
        journal.read(opened, NAME)
    opened.client.restore_run(run_id)
    assert len(journal.read(opened, NAME).records) == 1


def test_a_tag_that_names_something_else_is_found(opened: Store) -> None:
    written(opened, "1")
    run = opened.client.create_run(opened.experiment_id)
    opened.client.set_registered_model_tag(NAME, "journal", run.info.run_id)
    with pytest.raises(PipelineError, match="which is not its journal"):
        journal.read(opened, NAME)
    opened.client.set_registered_model_tag(NAME, "journal", "0" * 32)
    with pytest.raises(PipelineError, match="is gone"):
        journal.read(opened, NAME)


def test_a_model_that_somebody_else_made_gets_a_journal(opened: Store) -> None:
    opened.client.create_registered_model(NAME)
    log = written(opened, "1")
    assert opened.client.get_registered_model(NAME).tags["journal"] == log.run_id


def test_of_two_that_make_the_model_at_once_both_use_one_journal(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.create_registered_model
    rivals: list[str] = []

    def beaten(client: MlflowClient, *arguments: Any, **settings: Any) -> None:
        monkeypatch.setattr(MlflowClient, "create_registered_model", original)
        rivals.append(journal.ensure(opened, NAME).run_id)
        original(client, *arguments, **settings)

    monkeypatch.setattr(MlflowClient, "create_registered_model", beaten)
    assert [journal.ensure(opened, NAME).run_id] == rivals


def test_a_very_long_record_keeps_its_verdict_and_leaves_out_the_checks(opened: Store) -> None:
    checks = {f"check {k}": (0.5, "w" * 60, "hold") for k in range(100)}
    log = journal.ensure(opened, NAME)
    journal.append(opened, log, entry("1", checks=checks, reason="\u00e9" * 9000, verdict="hold"))
    (record,) = journal.read(opened, NAME).records
    assert (record.checks, record.verdict, record.reason) == ({}, "hold", "\u00e9" * 300)


def test_what_stands_in_the_database_is_plain_json(opened: Store) -> None:
    log = written(opened, "1")
    text = opened.client.get_run(log.run_id).data.params["000001"]
    assert text.isascii()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_writer_without_a_login_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    monkeypatch.setattr("getpass.getuser", unknown)
    assert journal.author().startswith(f"uid {os.getuid()}@")
