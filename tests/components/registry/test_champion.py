from collections.abc import Iterator

import pytest

from components.registry import audit_log as journal
from components.registry import champion as seats
from components.registry import promotion
from components.registry.champion import ChampionStatus
from components.tracking.store import Store, open_store
from tests.services.actors import NAME, add_version


@pytest.fixture
def opened(store: str) -> Iterator[Store]:
    with open_store() as opened:
        yield opened


def promote(store: Store, digest: str) -> str:
    version = add_version(store, digest)
    promotion.promote(store, NAME, version, over=promotion.seat(store, NAME))
    return version


def test_a_registry_without_models_has_no_champion_and_no_fault(opened: Store) -> None:
    seat, log = seats.look(opened, NAME)
    assert (seat, log.records) == (ChampionStatus(), ())
    assert seats.expected_aliases(log) == {}


def test_a_sound_champion_comes_with_digest_model_and_run(opened: Store) -> None:
    version = promote(opened, "a")
    found = opened.client.get_model_version(NAME, version)
    seat, _ = seats.look(opened, NAME)
    assert seat == ChampionStatus(version, "a", seats.logged_model(found), str(found.run_id), "")


@pytest.mark.parametrize("tag", ["model", "verified"])
def test_a_digest_tag_that_was_changed_by_hand_is_a_fault(tag: str, opened: Store) -> None:
    version = promote(opened, "a")
    opened.client.set_model_version_tag(NAME, version, tag, "b")
    assert "they were changed by hand" in seats.look(opened, NAME)[0].fault
    opened.client.set_model_version_tag(NAME, version, tag, "a")
    assert seats.look(opened, NAME)[0].fault == ""


def test_an_alias_that_was_removed_by_hand_is_a_fault(opened: Store) -> None:
    version = promote(opened, "a")
    opened.client.delete_registered_model_alias(NAME, "champion")
    seat, _ = seats.look(opened, NAME)
    assert "the alias says nothing" in seat.fault
    assert f"rollback --to {version}" in seat.fault


def test_a_deleted_champion_is_a_fault_that_still_names_its_digest(opened: Store) -> None:
    opened.client.delete_model_version(NAME, promote(opened, "a"))
    seat, _ = seats.look(opened, NAME)
    assert (seat.version, seat.model_digest) == (None, "a")
    assert "was deleted" in seat.fault


def test_a_model_is_withdrawn_once_it_was_succeeded_until_it_is_champion_again(
    opened: Store,
) -> None:
    first = promote(opened, "a")
    assert seats.revoked_reason(journal.read(opened, NAME), "a") == ""
    promote(opened, "b")
    log = journal.read(opened, NAME)
    assert seats.revoked_reason(log, "b") == seats.revoked_reason(log, "never seen") == ""
    assert seats.revoked_reason(log, "a").startswith(
        "version 1 of this model was champion and was succeeded by version 2 by "
    )
    over = promotion.seat(opened, NAME)
    promotion.promote(opened, NAME, first, over=over, cause="rolled_back", reason="broken")
    log = journal.read(opened, NAME)
    assert seats.revoked_reason(log, "a") == ""
    assert "was champion and was rolled back by " in seats.revoked_reason(log, "b")
    assert seats.revoked_reason(log, "b").endswith(": broken")
