import time
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from components.core.errors import PipelineError
from components.registry import audit_log, champion, lock, promotion
from components.registry.audit_log import Event
from components.tracking.store import Store, open_store
from tests import processes, registry
from tests.registry import NAME, add_version

pytestmark = pytest.mark.services


def promote(store: Store, version: str, **settings: Any) -> champion.ChampionStatus:
    return promotion.promote(
        store, NAME, version, over=promotion.current_champion(store, NAME), **settings
    )


def test_two_processes_with_100_promotions_each_lose_none(opened: Store) -> None:
    versions = [add_version(opened, digest) for digest in "abcd"]
    losses = processes.CONTEXT.Value("i", 0)
    pairs = (versions[:2], versions[2:])
    racers = [processes.start(processes.promote_many, *pair, 100, losses) for pair in pairs]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    moves = registry.require_consistent(opened)
    last = moves[-1]
    back = promote(opened, last.champion, trigger="rolled_back", reason="race")
    assert back.model_digest == last.champion_digest
    assert champion.aliases(opened, NAME) == {"champion": last.champion, "previous": last.version}
    print(f"{len(moves)} promotions, {losses.value} lost the race and compared again")
    assert len(moves) == 200


def test_two_processes_without_a_lock_overwrite_no_event(opened: Store) -> None:
    audit_log.ensure(opened, NAME)
    losses = processes.CONTEXT.Value("i", 0)
    writers = [processes.start(processes.append_many, 100, losses) for _ in range(2)]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    events = audit_log.read(opened, NAME).events
    for process in {event.model_digest for event in events}:
        turns = [event.version for event in events if event.model_digest == process]
        assert turns == [str(turn) for turn in range(100)]
    print(f"{len(events)} events, {losses.value} refused and written again")
    assert len(events) == 200
    assert losses.value > 0


def test_the_slower_of_two_writers_is_refused_even_with_equal_words(opened: Store) -> None:
    log = audit_log.ensure(opened, NAME)
    event = Event(action="evaluated", version="1", model_digest="m")
    audit_log.append(opened, log, event)
    with pytest.raises(audit_log.AuditLogChanged):
        audit_log.append(opened, log, event)


def test_a_promotion_survives_being_killed_around_every_call(opened: Store) -> None:
    add_version(opened, "a")
    promote(opened, "1")
    points = []
    for number in range(1, 20):
        for moment in ("before", "after"):
            version = add_version(opened, f"{moment} {number}")
            killed = processes.killed_once(number, moment, processes.promote, version)
            if killed:
                points.append((number, moment))
            promote(opened, version)
            assert registry.require_consistent(opened)[-1].version == version
        if not killed:
            break
    print(f"{len(points)} processes killed")
    assert points == [(n, moment) for n in range(1, 5) for moment in ("before", "after")]


def hold(seconds: float, taken: Any) -> None:
    with open_store() as store, lock.held(store, NAME):
        taken.set()
        time.sleep(seconds)


def test_a_lock_that_is_held_is_waited_for_and_its_holder_named(opened: Store) -> None:
    taken = processes.CONTEXT.Event()
    other = processes.start(hold, 60, taken)
    assert taken.wait(60)
    with pytest.raises(PipelineError, match=rf"process {other.pid} of .* holds the lock"):
        lock.held(opened, NAME, seconds=0.3).__enter__()
    with lock.held(opened, "another model", seconds=5) as guard:
        guard.require_held()
    other.kill()
    other.join()
    with lock.held(opened, NAME, seconds=10) as guard:
        guard.require_held()


@pytest.mark.row("P06")
def test_a_promoter_whose_session_was_ended_moves_no_alias(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add_version(opened, "a"), add_version(opened, "b")
    promote(opened, first)
    original = audit_log.append

    def cut(store: Store, log: audit_log.AuditLog, event: Event) -> audit_log.AuditLog:
        engine = create_engine(opened.uri, isolation_level="AUTOCOMMIT")
        with engine.connect() as session:
            session.execute(text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            ))  # fmt: skip
        engine.dispose()
        return original(store, log, event)

    with monkeypatch.context() as patch:
        patch.setattr(audit_log, "append", cut)
        with pytest.raises(PipelineError, match="the lock was lost"):
            promote(opened, second)
    assert champion.aliases(opened, NAME) == {"champion": first}
    assert promotion.current_champion(opened, NAME).version == second  # the next one finishes it
    registry.require_consistent(opened)


def test_one_hundred_promotions_raise_no_alarm(opened: Store) -> None:
    versions = [add_version(opened, digest) for digest in "ab"]
    losses = processes.CONTEXT.Value("i", 0)
    racer = processes.start(processes.promote_many, *versions, 100, losses)
    reads, alarms = 0, []
    while racer.is_alive():
        status, _ = champion.read_champion(opened, NAME)
        reads += 1
        if status.problem:
            alarms.append(status.problem)
    racer.join()
    assert racer.exitcode == 0
    print(f"{reads} reads during 100 promotions, {len(alarms)} alarms")
    assert alarms == []
    assert reads > 20
