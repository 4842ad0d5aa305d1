from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from mlflow import MlflowClient

from components.core.errors import PipelineError
from components.registry import audit_log, champion, lock, promotion
from components.registry.audit_log import AuditLog, LoggedEvent
from components.registry.champion import ChampionStatus
from components.registry.lock import Guard
from components.registry.promotion import ChampionChanged
from components.tracking.store import Store
from tests import processes, registry
from tests.registry import NAME, add_version


def promote(store: Store, version: str, **settings: Any) -> ChampionStatus:
    return promotion.promote(
        store, NAME, version, over=promotion.current_champion(store, NAME), **settings
    )


def actions(store: Store) -> list[str]:
    return [event.action for event in audit_log.read(store, NAME).events]


def test_the_first_model_becomes_champion_and_has_no_former_one(opened: Store) -> None:
    version = add_version(opened, "a")
    assert promotion.current_champion(opened, NAME) == ChampionStatus()
    assert promote(opened, version).version == version
    assert champion.aliases(opened, NAME) == {"champion": version}
    assert actions(opened) == ["evaluated", "promotion_started", "promotion_completed"]
    assert len(registry.require_consistent(opened)) == 1


def test_the_former_champion_is_previous(opened: Store) -> None:
    first, second = add_version(opened, "a"), add_version(opened, "b")
    promote(opened, first)
    promote(opened, second)
    assert champion.aliases(opened, NAME) == {"champion": second, "previous": first}
    last = registry.require_consistent(opened)[-1]
    assert (last.version, last.champion, last.champion_digest) == (second, first, "a")


def test_promoting_the_champion_again_writes_nothing(opened: Store) -> None:
    version = add_version(opened, "a")
    promote(opened, version)
    before = audit_log.read(opened, NAME).head
    assert promote(opened, version).version == version
    assert audit_log.read(opened, NAME).head == before


def test_a_champion_that_is_not_the_one_compared_stops_the_promotion(opened: Store) -> None:
    first, second, third = (add_version(opened, digest) for digest in "abc")
    compared = promotion.current_champion(opened, NAME)
    promote(opened, first)
    with pytest.raises(ChampionChanged, match=r"compared with no champion, but .* version 1 now"):
        promotion.promote(opened, NAME, second, over=compared)
    compared = promotion.current_champion(opened, NAME)
    promote(opened, second)
    with pytest.raises(ChampionChanged, match="compared with version 1, but champion is version 2"):
        promotion.promote(opened, NAME, third, over=compared)
    assert champion.aliases(opened, NAME) == {"champion": second, "previous": first}
    registry.require_consistent(opened)


@pytest.mark.parametrize("verdict", ["blocked", "error", ""])
def test_the_gate_promotes_only_what_it_passed(verdict: str, opened: Store) -> None:
    version = add_version(opened, "a", verdict)
    with pytest.raises(PipelineError, match="cannot become champion: its verdict is"):
        promote(opened, version)
    assert champion.aliases(opened, NAME) == {}


@pytest.mark.parametrize("verdict", ["passed", "error"])
def test_a_person_approves_only_what_is_blocked(verdict: str, opened: Store) -> None:
    version = add_version(opened, "a", verdict)
    with pytest.raises(PipelineError, match=f"its verdict is {verdict}, not blocked"):
        promote(opened, version, trigger="approved", reason="r")
    assert champion.aliases(opened, NAME) == {}


def test_what_was_blocked_becomes_champion_by_approval_with_its_reason(opened: Store) -> None:
    promote(opened, add_version(opened, "a", "blocked"), trigger="approved", reason="looked at it")
    (move,) = registry.require_consistent(opened)
    assert (move.trigger, move.reason, move.verdict) == ("approved", "looked at it", "blocked")


def test_a_rollback_needs_a_model_that_was_champion(opened: Store) -> None:
    first, second, third = (add_version(opened, digest) for digest in "abc")
    promote(opened, first)
    promote(opened, second)
    with pytest.raises(PipelineError, match="it never was champion"):
        promote(opened, third, trigger="rolled_back", reason="r")
    assert promote(opened, first, trigger="rolled_back", reason="r").model_digest == "a"
    assert champion.aliases(opened, NAME) == {"champion": first, "previous": second}
    registry.require_consistent(opened)


def test_an_unverified_or_unknown_version_never_becomes_champion(opened: Store) -> None:
    version = add_version(opened, "a")
    opened.client.set_model_version_tag(NAME, version, "verified", "other")
    with pytest.raises(PipelineError, match="its tags `model` and `verified` are not"):
        promote(opened, version)
    with pytest.raises(PipelineError, match="version 77 cannot become champion: it does not exist"):
        promote(opened, "77")
    unevaluated = opened.client.create_model_version(NAME, "/nowhere", tags={"model": "x"})
    with pytest.raises(PipelineError, match="the audit log has no verdict on it"):
        promote(opened, str(unevaluated.version))
    assert champion.aliases(opened, NAME) == {}


def test_a_champion_moved_by_hand_is_not_replaced_by_the_gate(opened: Store) -> None:
    first, second, third = (add_version(opened, digest) for digest in "abc")
    promote(opened, first)
    opened.client.set_registered_model_alias(NAME, "champion", second)
    with pytest.raises(PipelineError, match="nothing was promoted, because `champion` was moved"):
        promote(opened, third)
    assert champion.aliases(opened, NAME)["champion"] == second
    assert promote(opened, first, trigger="rolled_back", reason="r").problem == ""
    assert champion.aliases(opened, NAME) == {"champion": first}


def test_a_champion_set_back_keeps_its_predecessor(opened: Store) -> None:
    first, second = add_version(opened, "a"), add_version(opened, "b")
    promote(opened, first)
    promote(opened, second)
    opened.client.set_registered_model_alias(NAME, "champion", first)
    promote(opened, second, trigger="rolled_back", reason="r")
    assert champion.aliases(opened, NAME) == {"champion": second, "previous": first}


def test_a_deleted_champion_is_replaced_by_the_same_model_registered_anew(opened: Store) -> None:
    first, other = add_version(opened, "a"), add_version(opened, "b")
    promote(opened, first)
    opened.client.delete_model_version(NAME, first)
    status = promotion.current_champion(opened, NAME)
    assert (status.version, status.model_digest) == (None, "a")
    assert "version 1, champion since" in status.problem
    with pytest.raises(PipelineError, match="was deleted"):
        promote(opened, other)
    again = add_version(opened, "a")
    assert promote(opened, again) == promotion.current_champion(opened, NAME)
    assert champion.aliases(opened, NAME) == {"champion": again}
    assert promotion.current_champion(opened, NAME).problem == ""


def begin(store: Store, version: str, **changes: Any) -> None:
    """A promotion whose owner died after announcing it."""
    log = audit_log.read(store, NAME)
    event = promotion._promotion_started(store, log, version, "gate")
    audit_log.append(store, log, event.model_copy(update={"locked": True, **changes}))


def test_an_interrupted_promotion_is_finished_by_whoever_comes_next(opened: Store) -> None:
    first, second = add_version(opened, "a"), add_version(opened, "b")
    promote(opened, first)
    begin(opened, second)
    assert champion.read_champion(opened, NAME)[0].version == first
    assert promotion.current_champion(opened, NAME).version == second
    assert champion.aliases(opened, NAME) == {"champion": second, "previous": first}
    registry.require_consistent(opened)


@pytest.mark.parametrize("moved", [False, True])
def test_an_interrupted_promotion_of_a_version_gone_bad_is_given_up(
    moved: bool, opened: Store
) -> None:
    first, second, third = (add_version(opened, digest) for digest in "abc")
    promote(opened, first)
    promote(opened, second)
    begin(opened, third)
    opened.client.set_registered_model_alias(NAME, "previous", second)
    if moved:
        opened.client.set_registered_model_alias(NAME, "champion", third)
    opened.client.delete_model_version(NAME, third)
    assert promotion.current_champion(opened, NAME).version == second
    assert champion.aliases(opened, NAME) == {"champion": second, "previous": first}
    assert actions(opened)[-1] == "promotion_aborted"
    registry.require_consistent(opened)


def test_a_champion_moved_by_hand_during_an_interrupted_promotion_stays_visible(
    opened: Store,
) -> None:
    first, second, third = (add_version(opened, digest) for digest in "abc")
    promote(opened, first)
    begin(opened, second)
    opened.client.set_registered_model_alias(NAME, "champion", third)
    assert "moved by hand" in promotion.current_champion(opened, NAME).problem
    assert actions(opened)[-1] == "promotion_aborted"
    assert champion.aliases(opened, NAME) == {"champion": third}


def test_a_champion_moved_by_hand_at_the_same_moment_is_an_error(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add_version(opened, "a"), add_version(opened, "b")
    promote(opened, first)
    original = MlflowClient.set_registered_model_alias

    def beaten(client: MlflowClient, name: str, alias: str, version: str) -> None:
        original(client, name, alias, first if alias == "champion" else version)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", beaten)
        with pytest.raises(PipelineError, match="moved by hand at the same time"):
            promote(opened, second)
    assert actions(opened)[-1] == "promotion_aborted"
    assert promote(opened, second).version == second
    registry.require_consistent(opened)


def test_a_promotion_of_others_without_a_lock_is_waited_for(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(promotion, "_PATIENCE_SECONDS", 0.2)
    version = add_version(opened, "a")
    begin(opened, version, locked=False)
    looks: list[str] = []
    original = promotion._resume_or_abort

    def note(*arguments: Any) -> None:
        looks.append("resumed")
        original(*arguments)

    monkeypatch.setattr(promotion, "_resume_or_abort", note)
    assert promotion.current_champion(opened, NAME).version == version
    assert looks == ["resumed"]


def test_a_promotion_between_two_readings_without_a_lock_is_no_move_by_hand(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add_version(opened, "a"), add_version(opened, "b")
    promote(opened, first)
    original = champion.check_aliases

    @contextmanager
    def no_lock(_store: Store, _name: str) -> Iterator[Guard]:
        yield Guard(exclusive=False)

    def late(store: Store, log: AuditLog) -> ChampionStatus:
        monkeypatch.setattr(champion, "check_aliases", original)
        promote(opened, second)
        return original(store, log)

    monkeypatch.setattr(lock, "held", no_lock)
    monkeypatch.setattr(champion, "check_aliases", late)
    status = promotion.current_champion(opened, NAME)
    assert (status.version, status.problem) == (second, "")


def test_a_process_that_was_overtaken_sets_the_aliases_right_and_stops(opened: Store) -> None:
    first, second, third = (add_version(opened, digest) for digest in "abc")
    promote(opened, first)
    begin(opened, second)
    asleep = audit_log.read(opened, NAME)
    promotion.current_champion(opened, NAME)  # finishes it for the sleeper
    promote(opened, third)
    opened.client.set_registered_model_alias(NAME, "champion", second)  # the sleeper's late call
    started = asleep.pending
    assert started is not None
    with pytest.raises(ChampionChanged, match="took so long that somebody else ended it"):
        promotion._require_pending(opened, NAME, started)
    assert champion.aliases(opened, NAME) == {"champion": third, "previous": second}
    registry.require_consistent(opened)


@pytest.mark.row("P04")
def test_a_promotion_survives_being_killed_around_every_call(opened: Store) -> None:
    """Before the first and after each: before the next, the store is as after the one before."""
    add_version(opened, "a")
    promote(opened, "1")
    points = []
    for number, moment in [(1, "before"), *((number, "after") for number in range(1, 20))]:
        version = add_version(opened, f"{moment} {number}")
        killed = processes.killed_once(number, moment, processes.promote, version)
        promote(opened, version)
        assert registry.require_consistent(opened)[-1].version == version
        if not killed:
            break
        points.append((number, moment))
    # started, previous, champion, completed
    assert points == [(1, "before"), *((number, "after") for number in range(1, 5))]


@pytest.mark.row("P05")
def test_two_racing_processes_lose_no_promotion(opened: Store) -> None:
    assert len(race(opened, 5)) == 10


@pytest.mark.slow
def test_two_processes_with_100_promotions_each_lose_none(opened: Store) -> None:
    assert len(race(opened, 100)) == 200


def race(store: Store, times: int) -> list[LoggedEvent]:
    """Two processes promote so often each; the promotions, each over the one before it."""
    digests = ["a", "b", "c", "d"]
    versions = [add_version(store, digest) for digest in digests]
    losses = processes.CONTEXT.Value("i", 0)
    pairs = (versions[:2], versions[2:])
    racers = [processes.start(processes.promote_many, *pair, times, losses) for pair in pairs]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    moves = registry.require_consistent(store)
    last = moves[-1]
    back = promote(store, last.champion, trigger="rolled_back", reason="race")
    assert back.model_digest == last.champion_digest
    print(f"{len(moves)} promotions, {losses.value} lost the race and compared again")
    return moves
