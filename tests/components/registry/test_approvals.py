"""What a person decides, on a real MLflow store."""

import sys
from pathlib import Path
from typing import Any

import pytest

from components.core.errors import ChangedInput
from components.io import files
from components.registry import (
    approvals,
    audit_log,
    champion,
    decided,
    package,
    promotion,
    verification,
)
from components.tracking.store import Store
from pipeline.cli import main
from tests import registry
from tests.registry import (
    NAME,
    add_evaluated,
    add_promoted,
    add_version,
    champion_version,
    events,
)

MODEL = ["--model", NAME]
WHY = [*MODEL, "--reason", "because"]
MOVE = [*WHY, "--yes"]

pytestmark = pytest.mark.usefixtures("verified")

Capture = pytest.CaptureFixture[str]


def test_an_approved_version_is_champion_with_reason_and_person(
    opened: Store, tmp_path: Path, verified: list[str]
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    assert main(["approve", blocked, *MOVE]) == 0
    assert champion_version(opened) == blocked
    last = registry.require_consistent(opened)[-1]
    assert (last.trigger, last.reason, last.champion_digest) == ("approved", "because", "a")
    assert last.actor.startswith("anna@")
    assert verified == ["b"]
    tags = opened.client.get_model_version(NAME, blocked).tags
    assert (tags["review"], tags["review.reason"]) == ("approved", "because")
    before = events(opened)
    assert main(["approve", blocked, *MOVE]) == 0
    assert events(opened) == before


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("error", "which nobody can approve"), ("passed", "needs no approval")],
)
def test_only_blocked_can_be_approved(
    verdict: str, words: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    number = add_evaluated(opened, tmp_path, "a", verdict)
    assert main(["approve", number, *MOVE]) == 1
    assert words in capsys.readouterr().err
    assert champion_version(opened) is None


def test_nothing_is_approved_over_another_champion_than_the_one_compared(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    newer = add_promoted(opened, tmp_path, "c")
    assert main(["approve", blocked, *MOVE]) == 1
    assert f"was not compared with version {newer}" in capsys.readouterr().err
    assert champion_version(opened) == newer


def test_nothing_is_approved_over_a_champion_moved_by_hand(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    opened.client.set_registered_model_alias(NAME, "champion", blocked)
    assert main(["approve", blocked, *MOVE]) == 1
    assert "was moved by hand" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["approve", "reject", "rollback"])
def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    command: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    add_promoted(opened, tmp_path, "b")
    blocked = add_evaluated(opened, tmp_path, "c", "blocked")
    before, aliases = events(opened), champion.aliases(opened, NAME)
    target = [] if command == "rollback" else [blocked]
    assert main([command, *target, *WHY, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("would be done: version ")
    assert (events(opened), champion.aliases(opened, NAME)) == (before, aliases)


def test_without_a_terminal_and_yes_nothing_is_changed(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    blocked = add_evaluated(opened, tmp_path, "a", "blocked")
    assert main(["approve", blocked, *WHY]) == 2
    assert "say --yes" in capsys.readouterr().err
    assert champion_version(opened) is None


@pytest.mark.parametrize(("answer", "champion_after"), [("y", "1"), ("n", None), ("", None)])
def test_at_a_terminal_it_asks(
    answer: str, champion_after: str | None, opened: Store, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    blocked = add_evaluated(opened, tmp_path, "a", "blocked")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    assert main(["approve", blocked, *WHY]) == 0
    assert champion_version(opened) == champion_after


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_is_needed(reason: str, capsys: Capture) -> None:
    assert main(["approve", "1", *MODEL, "--reason", reason]) == 2
    assert "is empty; say why" in capsys.readouterr().err


def test_a_rejected_version_is_revoked_and_stays_so(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    for _ in range(2):
        assert main(["reject", blocked, *MOVE]) == 0
    assert "is rejected already" in capsys.readouterr().out
    log = audit_log.read(opened, NAME)
    assert [r.action for r in log.events].count("rejected") == 1
    assert "version 2 of this model was rejected by anna@" in champion.revoked_reason(log, "b")
    assert champion_version(opened) == "1"
    assert main(["review", blocked, *MODEL]) == 3
    assert "by anna@" in capsys.readouterr().out


@pytest.mark.parametrize("verdict", ["passed", "error"])
def test_only_blocked_can_be_rejected(
    verdict: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    number = add_evaluated(opened, tmp_path, "a", verdict)
    assert main(["reject", number, *MOVE]) == 1
    assert "only blocked versions wait for a person" in capsys.readouterr().err


def test_the_champion_cannot_be_rejected(opened: Store, tmp_path: Path, capsys: Capture) -> None:
    blocked = add_evaluated(opened, tmp_path, "a", "blocked")
    assert main(["approve", blocked, *MOVE]) == 0
    assert main(["reject", blocked, *MOVE]) == 1
    assert "it is champion" in capsys.readouterr().err


def test_sync_acts_once_on_the_tags_that_were_set_in_the_ui(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["sync", *MODEL]) == 0
    assert "no version has the tag" in capsys.readouterr().out
    add_promoted(opened, tmp_path, "a")
    good, bad = (add_evaluated(opened, tmp_path, digest, "blocked") for digest in "bc")
    opened.client.set_model_version_tag(NAME, good, "review", "approved")
    opened.client.set_model_version_tag(NAME, good, "review.reason", "seen by two people")
    opened.client.set_model_version_tag(NAME, bad, "review", "rejected")
    opened.client.set_model_version_tag(NAME, bad, "review.reason", "owls are missing")
    assert main(["sync", *MODEL, "--dry-run"]) == 0
    assert champion_version(opened) == "1"
    assert main(["sync", *MODEL]) == 0
    assert champion_version(opened) == good
    log = audit_log.read(opened, NAME)
    assert "by a tag in MLflow's UI: seen by two people" in [r.reason for r in log.events]
    assert log.events[-1].action == "rejected"
    page = opened.client.get_model_version(NAME, good)
    words = "approved by a tag in MLflow's UI, applied by anna@"
    assert str(page.description).startswith(words)
    assert str(page.description).partition("\n")[0].endswith(": seen by two people")
    assert page.tags["review.reason"] == "seen by two people"
    page = opened.client.get_model_version(NAME, bad)
    assert str(page.description).startswith("rejected by a tag in MLflow's UI, applied by anna@")
    capsys.readouterr()
    assert main(["sync", *MODEL]) == 0
    assert [line[:28] for line in capsys.readouterr().out.splitlines()] == [
        "version 2: approved already,", "version 3: rejected already,",
    ]  # fmt: skip
    assert audit_log.read(opened, NAME).head == log.head


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (
            "aproved",
            "seen",
            "its tag `review` is 'aproved', which means nothing; set it to approved",
        ),
        ("approved", "", "nobody said why; set its tag `review.reason`"),
        ("rejected", "  ", "nobody said why"),
    ],
)
def test_sync_refuses_a_tag_that_says_not_what_or_why(
    value: str, reason: str, words: str, opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    blocked = add_evaluated(opened, tmp_path, "a", "blocked")
    opened.client.set_model_version_tag(NAME, blocked, "review", value)
    opened.client.set_model_version_tag(NAME, blocked, "review.reason", reason)
    assert main(["sync", *MODEL]) == 3
    out = capsys.readouterr().out
    assert out.startswith(f"refused: version {blocked}: ")
    assert words in out
    assert champion_version(opened) is None


def description(store: Store, version: str) -> str:
    return str(store.client.get_model_version(NAME, version).description)


def test_the_page_of_a_version_begins_with_who_decided_when_and_why(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    good, bad = (add_evaluated(opened, tmp_path, digest, "blocked") for digest in "ab")
    for version in (good, bad):
        opened.client.update_model_version(NAME, version, "blocked 0.852 accuracy\n\nTo do")
    assert main(["reject", bad, *MOVE]) == 0
    assert main(["approve", good, *MODEL, "--reason", "looked at\n40", "--yes"]) == 0
    first, empty, *rest = description(opened, good).split("\n")
    assert first.startswith("approved by anna@")
    assert first.endswith(": looked at 40")
    assert (empty, rest) == ("", ["blocked 0.852 accuracy", "", "To do"])
    assert description(opened, bad).startswith("rejected by anna@")
    log = audit_log.read(opened, NAME)
    again = decided.with_decision(log, good, description(opened, good))
    assert again == description(opened, good), "once, however often it is stated"
    capsys.readouterr()
    assert main(["status", *MODEL]) == 0
    out = capsys.readouterr().out
    assert "blocked 0.852 accuracy" in out
    assert f"version {good}: `make ui`, then http://127.0.0.1:5000/#/models/{NAME}/versions/" in out


def test_an_old_version_is_refused_with_a_way_that_works(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    add_promoted(opened, tmp_path, "c")
    opened.client.set_model_version_tag(NAME, blocked, "git", "c0ffee" * 6 + "c0ff-dirty")
    assert main(["approve", blocked, *MOVE]) == 1
    words = capsys.readouterr().err
    assert "(`git checkout c0ffeec0ffee` and `dvc checkout`), run `dvc repro register`" in words
    assert "That commit is not exactly the code that ran" in words
    opened.client.set_model_version_tag(NAME, blocked, "git", "c0ffee" * 6 + "c0ff")
    assert main(["approve", blocked, *MOVE]) == 1
    words = capsys.readouterr().err
    assert "`git checkout c0ffeec0ffee`" in words
    assert "not exactly" not in words
    opened.client.delete_model_version_tag(NAME, blocked, "git")
    assert main(["approve", blocked, *MOVE]) == 1
    assert "(its own checkout), run `dvc repro register`" in capsys.readouterr().err


def test_sync_never_approves_twice_what_was_succeeded_and_evaluated_again(
    opened: Store, tmp_path: Path
) -> None:
    blocked = add_evaluated(opened, tmp_path, "a", "blocked")
    opened.client.set_model_version_tag(NAME, blocked, "review", "approved")
    opened.client.set_model_version_tag(NAME, blocked, "review.reason", "seen")
    assert main(["sync", *MODEL]) == 0
    newer = add_promoted(opened, tmp_path, "b")
    evaluated = audit_log.read(opened, NAME).evaluation_of(blocked)
    assert evaluated is not None
    audit_log.append(opened, audit_log.read(opened, NAME), evaluated.event)
    assert main(["sync", *MODEL]) == 0
    assert champion_version(opened) == newer


def test_sync_says_what_it_refuses_and_goes_on(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    broken = add_evaluated(opened, tmp_path, "a", "error")
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    for number in (broken, blocked):
        opened.client.set_model_version_tag(NAME, number, "review", "approved")
        opened.client.set_model_version_tag(NAME, number, "review.reason", "seen")
    assert main(["sync", *MODEL]) == 3
    assert "refused: version 1: its verdict is error" in capsys.readouterr().out
    assert champion_version(opened) == blocked


@pytest.mark.row("P18")
def test_a_rollback_brings_the_former_champion_back_and_a_second_one_is_harmless(
    opened: Store, tmp_path: Path, capsys: Capture, verified: list[str]
) -> None:
    for digest in "abc":
        add_promoted(opened, tmp_path, digest)
    assert main(["rollback", *MOVE]) == 0
    assert champion.aliases(opened, NAME).items() >= {"champion": "2", "previous": "3"}.items()
    assert verified == ["b"]
    before = events(opened)
    assert main(["rollback", *MOVE]) == 0
    assert "version 2 is champion already" in capsys.readouterr().out
    assert events(opened) == before
    log = audit_log.read(opened, NAME)
    assert "version 3 of this model was champion and was rolled back" in champion.revoked_reason(
        log, "c"
    )
    assert main(["rollback", "--to", "1", *MOVE]) == 0
    assert champion_version(opened) == "1"
    registry.require_consistent(opened)


def test_a_rollback_without_a_former_champion_says_so(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["rollback", *MOVE]) == 1
    assert "there is nothing to roll back to" in capsys.readouterr().err
    add_promoted(opened, tmp_path, "a")
    assert main(["rollback", *MOVE]) == 1
    assert "version 1 is the first champion" in capsys.readouterr().err
    blocked = add_evaluated(opened, tmp_path, "b", "blocked")
    assert main(["rollback", "--to", blocked, *MOVE]) == 1
    assert "version 2 never was champion; these were: 1" in capsys.readouterr().err


@pytest.mark.row("P19")
def test_a_rollback_to_a_deleted_version_is_refused(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    add_promoted(opened, tmp_path, "b")
    opened.client.delete_model_version(NAME, "1")
    aliases = champion.aliases(opened, NAME)
    assert main(["rollback", *MOVE]) == 1
    assert "version 1 does not exist any more" in capsys.readouterr().err
    assert champion.aliases(opened, NAME) == aliases


def test_a_rollback_sets_a_champion_right_that_was_moved_by_hand(
    opened: Store, tmp_path: Path, capsys: Capture
) -> None:
    add_promoted(opened, tmp_path, "a")
    add_promoted(opened, tmp_path, "b")
    opened.client.set_registered_model_alias(NAME, "champion", "1")
    assert main(["rollback", *MOVE]) == 1
    assert "rollback --to 2" in capsys.readouterr().err
    assert main(["rollback", "--to", "2", *MOVE]) == 0
    assert champion_version(opened) == "2"
    assert champion.aliases(opened, NAME)["previous"] == "1"


def stored_model(store: Store, folder: Path, model: Path) -> str:
    """A champion with a real package; its version."""
    logged = store.client.create_logged_model(store.experiment_id, name="model")
    target = folder / f"package {logged.model_id}"
    package.write(model, target, run_id="1" * 32, model_id=logged.model_id)
    store.client.log_model_artifacts(logged.model_id, str(target))
    facts: Any = {"package_digest": files.digest_folder(target)}
    number = add_version(store, files.digest_folder(model), model_id=logged.model_id, **facts)
    promotion.promote(store, NAME, number, over=promotion.current_champion(store, NAME))
    return number


@pytest.mark.row("P18", "P23")
@pytest.mark.parametrize(
    "harm", ["nothing", "artifacts/model/weights.safetensors", "code/components/io/models.py"]
)
def test_a_rollback_proves_the_bytes_of_its_target_first(
    harm: str, opened: Store, tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "verify", verification.verify)
    monkeypatch.setattr(verification, "_require_same_predictions", lambda *_: None)
    first = stored_model(opened, tmp_path, small_model)
    second = add_promoted(opened, tmp_path, "b")
    version = opened.client.get_model_version(NAME, first)
    place = Path(opened.client.get_logged_model(champion.logged_model(version)).artifact_location)
    if harm != "nothing":
        content = bytearray((place / harm).read_bytes())
        content[-1] ^= 1
        (place / harm).write_bytes(content)
    aliases = champion.aliases(opened, NAME)
    assert main(["rollback", *MOVE]) == (0 if harm == "nothing" else ChangedInput.exit_code)
    if harm == "nothing":
        assert champion_version(opened) == first
    else:
        assert champion_version(opened) == second
        assert champion.aliases(opened, NAME) == aliases
