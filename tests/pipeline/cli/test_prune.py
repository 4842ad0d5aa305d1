"""The command prune on a real MLflow store, and what others say about a pruned version."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.io import files
from components.registry import champion, deletion
from components.tracking.store import Store
from pipeline.cli import main
from pipeline.cli import registry as command
from tests import registry
from tests.local_store import LocalStore
from tests.registry import NAME, add_evaluated, add_promoted, champion_version, events

MODEL = ["--model", NAME]
WHY = [*MODEL, "--reason", "because"]
LIMITS = ["--older-than", "30", "--keep", "1"]

pytestmark = pytest.mark.usefixtures("verified")

Capture = pytest.CaptureFixture[str]


class Later(datetime):
    """The clock in 100 days."""

    @classmethod
    def now(cls, tz: Any = UTC) -> "Later":
        return super().now(tz) + timedelta(days=100)


@pytest.fixture
def aged(
    opened: Store, local_store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """Versions 1 to 5, old by now: three champions in turn, one rejected, one that waits."""
    local_store.set_up("aged versions", lambda: _add_five(opened, tmp_path))
    monkeypatch.setattr(command, "datetime", Later)
    return opened


def _add_five(store: Store, folder: Path) -> None:
    for digest in "abc":
        add_promoted(store, folder, digest)
    rejected = add_evaluated(store, folder, "d", "blocked")
    assert main(["reject", rejected, *WHY, "--yes"]) == 0
    add_evaluated(store, folder, "e", "blocked")
    for version in store.client.search_model_versions(f"name='{NAME}'"):
        with tempfile.TemporaryDirectory() as weights:
            (Path(weights) / "weights").write_bytes(bytes(1_500_000))
            store.client.log_model_artifacts(champion.logged_model(version), weights)


def prune(*more: str) -> int:
    return main(["prune", *MODEL, *LIMITS, *more])


def sizes(store: Store) -> list[int]:
    return [
        deletion.size(
            store, champion.logged_model(store.client.get_model_version(NAME, str(number)))
        )
        for number in range(1, 6)
    ]


def test_without_yes_it_lists_what_would_go_and_why_the_rest_stays(
    aged: Store, capsys: Capture
) -> None:
    before = events(aged)
    capsys.readouterr()
    assert prune() == 0
    assert capsys.readouterr().out.splitlines() == [
        "version 1: would be pruned, 1.5 MB, 100 days old",
        "version 2: stays, `previous` names it",
        "version 3: stays, `champion` names it",
        "version 4: would be pruned, 1.5 MB, 100 days old",
        "version 5: stays, `candidate` names it",
        "cells: 3.0 MB would be pruned; --yes deletes them for good",
    ]
    assert (events(aged), sizes(aged)) == (before, [1_500_000] * 5)


def test_with_yes_they_are_gone_and_a_second_time_does_nothing(
    aged: Store, capsys: Capture
) -> None:
    capsys.readouterr()
    assert prune("--yes") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "cells: 3.0 MB pruned"
    assert sizes(aged) == [0, 1_500_000, 1_500_000, 0, 1_500_000]
    assert events(aged)[-2:] == [("pruned", "1"), ("pruned", "4")]
    assert prune("--yes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "cells: 0.0 MB pruned"
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        "version 2",
        "version 3",
        "version 5",
    ]
    assert main(["history", *MODEL]) == 0
    assert "older than 30 days, not among the newest 1" in capsys.readouterr().out


def test_in_doubt_about_the_champion_it_does_nothing_and_exits_3(
    aged: Store, capsys: Capture
) -> None:
    aged.client.set_registered_model_alias(NAME, champion.CHAMPION, "5")
    before = events(aged)
    capsys.readouterr()
    assert prune("--yes") == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(
        "error: cells: nothing is pruned, because `champion` was moved by"
    )
    assert printed.err.count("\n") == 1
    assert (events(aged), sizes(aged)) == (before, [1_500_000] * 5)
    assert main(["status", *MODEL]) == 3


@pytest.mark.parametrize("wrong", ["0", "-1", "2.5", "x"])
@pytest.mark.parametrize("option", ["--older-than", "--keep"])
def test_limits_that_would_protect_nothing_are_refused(
    option: str, wrong: str, capsys: Capture
) -> None:
    assert prune(f"{option}={wrong}") == 2
    error = capsys.readouterr().err
    assert option in error
    assert "Traceback" not in error


@pytest.mark.parametrize("missing", [0, 2])
def test_both_limits_must_be_said(missing: int, capsys: Capture) -> None:
    given = LIMITS[:missing] + LIMITS[missing + 2 :]
    assert main(["prune", *MODEL, *given]) == 2
    assert f"Missing option '{LIMITS[missing]}'" in capsys.readouterr().err


@pytest.mark.parametrize("last", ["--yes", "--dry-run"])
@pytest.mark.parametrize("command", [["rollback", "--to", "1"], ["approve", "4"]])
def test_no_command_makes_a_pruned_version_champion(
    command: list[str], last: str, aged: Store, verified: list[str], capsys: Capture
) -> None:
    assert prune("--yes") == 0
    before, checked = events(aged), list(verified)
    capsys.readouterr()
    assert main([*command, *WHY, last]) == 1
    today = datetime.now(UTC).date().isoformat()
    assert capsys.readouterr().err == (
        f"error: cells: version {command[-1]} cannot become champion: its weights were pruned on "
        f"{today}; to have that model again, run `dvc repro`.\n"
    )
    assert (events(aged), verified, champion_version(aged)) == (before, checked, "3")


def test_sync_refuses_a_pruned_version_and_names_who_rejected_it(
    aged: Store, capsys: Capture
) -> None:
    assert prune("--yes") == 0
    capsys.readouterr()
    assert main(["sync", *MODEL]) == 0
    assert capsys.readouterr().out.startswith("version 4: rejected already, ")
    aged.client.set_model_version_tag(NAME, "4", "review", "approved")
    aged.client.set_model_version_tag(NAME, "4", "review.reason", "after all")
    assert main(["sync", *MODEL]) == 3
    assert (
        "refused: cells: version 4 cannot become champion: its weights" in capsys.readouterr().out
    )


def test_the_message_names_the_revision_to_train_again_from(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(command, "datetime", Later)
    for digest in "abc":
        add_promoted(opened, tmp_path, digest)
    opened.client.set_model_version_tag(NAME, "1", "git", "0123abcd")
    assert prune("--yes") == 0
    assert main(["rollback", "--to", "1", *WHY, "--yes"]) == 1
    wanted = "to have that model again, check out git revision 0123abcd and run `dvc repro`."
    assert wanted in capsys.readouterr().err


def test_the_evidence_of_a_pruned_version_stays_and_can_be_reviewed(
    aged: Store, tmp_path: Path, capsys: Capture
) -> None:
    run_id = str(aged.client.get_model_version(NAME, "1").run_id)

    def evidence() -> str:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        aged.client.download_artifacts(run_id, "register", str(folder))
        digest = files.digest_folder(folder)
        shutil.rmtree(folder)
        return digest

    before = evidence()
    assert prune("--yes") == 0
    assert evidence() == before
    capsys.readouterr()
    assert main(["review", "1", *MODEL]) == 0
    output = capsys.readouterr().out
    assert "cells version 1: passed 0.500 accuracy" in output
    assert "\nits weights were pruned on " in output
    assert main(["rollback", *WHY, "--yes"]) == 0
    assert champion_version(aged) == "2"
    registry.require_consistent(aged)
