import pytest

from components.registry import audit_log, champion, promotion
from components.registry.champion import ChampionStatus
from components.tracking.store import Store
from tests.registry import NAME, add_version


def promote(store: Store, digest: str) -> str:
    version = add_version(store, digest)
    promotion.promote(store, NAME, version, over=promotion.current_champion(store, NAME))
    return version


def test_a_registry_without_models_has_no_champion_and_no_problem(opened: Store) -> None:
    status, log = champion.read_champion(opened, NAME)
    assert (status, log.events) == (ChampionStatus(), ())
    assert champion.expected_aliases(log) == {}


def test_a_sound_champion_comes_with_digest_model_and_run(opened: Store) -> None:
    version = promote(opened, "a")
    found = opened.client.get_model_version(NAME, version)
    status, _ = champion.read_champion(opened, NAME)
    assert status == ChampionStatus(
        version, "a", champion.logged_model(found), str(found.run_id), ""
    )


@pytest.mark.parametrize("tag", ["model", "verified"])
def test_a_digest_tag_that_was_changed_by_hand_is_a_problem(tag: str, opened: Store) -> None:
    version = promote(opened, "a")
    opened.client.set_model_version_tag(NAME, version, tag, "b")
    assert "they were changed by hand" in champion.read_champion(opened, NAME)[0].problem
    opened.client.set_model_version_tag(NAME, version, tag, "a")
    assert champion.read_champion(opened, NAME)[0].problem == ""


def test_an_alias_that_was_removed_by_hand_is_a_problem(opened: Store) -> None:
    version = promote(opened, "a")
    opened.client.delete_registered_model_alias(NAME, "champion")
    status, _ = champion.read_champion(opened, NAME)
    assert "the alias says nothing" in status.problem
    assert f"rollback --to {version}" in status.problem


def test_a_deleted_champion_is_a_problem_that_still_names_its_digest(opened: Store) -> None:
    opened.client.delete_model_version(NAME, promote(opened, "a"))
    status, _ = champion.read_champion(opened, NAME)
    assert (status.version, status.model_digest) == (None, "a")
    assert "was deleted" in status.problem


def test_a_model_is_revoked_once_it_was_succeeded_until_it_is_champion_again(
    opened: Store,
) -> None:
    first = promote(opened, "a")
    assert champion.revoked_reason(audit_log.read(opened, NAME), "a") == ""
    promote(opened, "b")
    log = audit_log.read(opened, NAME)
    assert champion.revoked_reason(log, "b") == champion.revoked_reason(log, "never seen") == ""
    assert champion.revoked_reason(log, "a").startswith(
        "version 1 of this model was champion and was succeeded by version 2 by "
    )
    over = promotion.current_champion(opened, NAME)
    promotion.promote(opened, NAME, first, over=over, trigger="rolled_back", reason="broken")
    log = audit_log.read(opened, NAME)
    assert champion.revoked_reason(log, "a") == ""
    assert "was champion and was rolled back by " in champion.revoked_reason(log, "b")
    assert champion.revoked_reason(log, "b").endswith(": broken")
