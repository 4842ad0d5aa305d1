"""A version's model folder, found without MLflow once it is here."""

import shutil
import sys
from pathlib import Path

import pytest

from components.core.errors import ChangedInput, PipelineError
from components.io import files
from components.registry import champion, package, stored_model
from components.tracking.store import Store
from tests.registry import NAME, add_evaluated, add_promoted

CACHE = Path("cache")


@pytest.fixture
def digest(
    opened: Store, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Of version 1, champion, whose package is in the store; version 2 is another model's."""
    monkeypatch.chdir(tmp_path)
    digest = files.digest_folder(small_model)
    number = add_promoted(opened, tmp_path, digest)
    model_id = champion.logged_model(opened.client.get_model_version(NAME, number))
    target = tmp_path / "package"
    package.write(small_model, target, run_id="1" * 32, model_id=model_id)
    opened.client.log_model_artifacts(model_id, str(target))
    opened.client.finalize_logged_model(model_id, "READY")
    add_evaluated(opened, tmp_path, "e" * 64, "blocked")
    return digest


def test_the_champion_is_downloaded_once_and_then_found_without_mlflow(
    digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stored_model.fetch(NAME, None, CACHE)
    assert (first.number, first.digest, first.headline) == ("1", digest, "passed 0.500 accuracy")
    assert files.digest_folder(first.folder) == digest
    monkeypatch.setitem(sys.modules, "components.tracking.store", None)
    assert stored_model.fetch(NAME, None, CACHE) == first
    assert stored_model.fetch(NAME, "1", CACHE) == first


def test_a_damaged_copy_is_downloaded_again(digest: str) -> None:
    found = stored_model.fetch(NAME, None, CACHE)
    (found.folder / "card.json").write_text("{}")
    assert files.digest_folder(stored_model.fetch(NAME, None, CACHE).folder) == digest


def test_another_champion_is_another_model(digest: str, opened: Store) -> None:
    stored_model.fetch(NAME, None, CACHE)
    opened.client.set_registered_model_alias(NAME, "champion", "2")
    with pytest.raises(ChangedInput, match="gone"):  # version 2 has no files
        stored_model.fetch(NAME, None, CACHE)


def test_the_cache_may_be_deleted(digest: str) -> None:
    stored_model.fetch(NAME, None, CACHE)
    shutil.rmtree(CACHE)
    assert stored_model.fetch(NAME, None, CACHE).folder.is_dir()


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("new", None, "new: has no champion yet; .*--trained"),
        (NAME, "7", "has no version 7; `python -m pipeline history`"),
        (NAME, "x", "has no version x"),
    ],
)
def test_what_is_not_there_is_said(
    digest: str, name: str, version: str | None, message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        stored_model.fetch(name, version, CACHE)


def test_a_file_that_is_no_database_of_mlflow_is_left_to_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert stored_model._look_up(NAME, None, CACHE) is None
