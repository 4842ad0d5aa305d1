"""Which file system is full, whatever an error says of it."""

import os
import re
from pathlib import Path

import pytest

from components.io import files
from pipeline import full_disk


@pytest.fixture
def places(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose database lies on a small disk, and nothing else does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk}/mlflow.db")
    return small_disk


@pytest.mark.row("R08")
def test_an_error_that_names_no_file_means_the_file_system_with_the_least_space(
    places: Path,
) -> None:
    words = full_disk.explain(OSError(28, os.strerror(28)))
    assert words == f"No space left on the file system {places} (0.1 MiB, {places})"


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "a", None, "b"),
        OSError(122, "Disk quota exceeded", "b"),
    ],
)
def test_of_a_copy_the_second_file_is_meant(error: OSError, places: Path) -> None:
    words = full_disk.explain(error)
    assert re.fullmatch(r"No space left on the file system \S+ \([\d,.]+ MiB, b\)", words)


@pytest.mark.parametrize(
    "words", ["(sqlite3.OperationalError) database or disk is full", "[Errno 28] No space left on"]
)
def test_the_words_of_a_library_count_wherever_they_stand_in_the_chain(
    words: str, places: Path
) -> None:
    failed = ValueError("the upload failed")
    failed.__cause__ = RuntimeError(f"{words} device")
    assert files.is_full(failed)
    assert str(places) in full_disk.explain(failed)


def test_another_error_is_not_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    assert full_disk.explain(OSError(13, "Permission denied", "a")) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")  # nobody asks where that is
    assert full_disk.explain(OSError(28, "full")) != ""
