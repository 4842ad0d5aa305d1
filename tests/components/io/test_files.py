"""Files are whole or absent, whatever goes wrong; digests say what a folder holds."""

import csv
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from components.core.artifacts import Artifact
from components.core.errors import ChangedInput, MissingInput, PipelineError
from components.io import files


class Note(Artifact):
    text: str
    numbers: dict[str, float]


class Other(BaseModel):
    schema_version: Literal[3] = 3


NOTE = Note(text="\u00e9", numbers={"b": 0.1, "a": 2.0})


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with old content."""
    path = tmp_path / "table.csv"
    path.write_text("old")
    return path


@pytest.mark.row("R04")
def test_a_file_appears_under_its_name_only_when_it_is_whole(target: Path) -> None:
    with files.replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
    assert target.read_text() == "new"
    assert leftovers(target.parent) == ["table.csv"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "gr\u00fc\u00dfe")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "gr\u00fc\u00dfe".encode()


def test_a_table_is_csv_with_a_header_and_survives_commas_quotes_and_line_breaks(
    tmp_path: Path,
) -> None:
    rows = [['a,"b".png', 1], ["two\nlines", 0.5]]
    files.write_csv(tmp_path / "t.csv", ["name", "number"], rows)
    assert (tmp_path / "t.csv").read_text() == ('name,number\n"a,""b"".png",1\n"two\nlines",0.5\n')
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["name", "number"],
            ['a,"b".png', "1"],
            ["two\nlines", "0.5"],
        ]


@pytest.mark.parametrize("name", ["model.safetensors", "page.html", "Makefile", ".dvcignore"])
def test_the_temporary_name_keeps_the_suffix_and_is_hidden(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with files.replacing(path) as temporary:
        assert temporary.suffix == path.suffix or not path.suffix
        assert temporary.name.startswith(".")
        temporary.touch()
    assert leftovers(tmp_path) == [name]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_the_old_file_and_leaves_no_other(
    target: Path, failure: type[BaseException]
) -> None:
    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise failure

    with pytest.raises(failure):
        files.write_with(target, fail)
    assert target.read_text() == "old"
    assert leftovers(target.parent) == ["table.csv"]


def test_a_body_that_writes_nothing_is_an_error_and_keeps_the_old_file(target: Path) -> None:
    with pytest.raises(PipelineError, match="could not be written"):
        files.write_with(target, lambda _: None)
    assert target.read_text() == "old"


def test_a_disk_that_is_full_at_the_last_moment_leaves_no_half_file(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PipelineError) as failed:
        files.write_text(target, "new")
    why = f"No space left on device, file system {files.file_system(target)}"
    assert str(failed.value).startswith(f"{target}: could not be written ({why})")
    assert failed.value.exit_code == 1
    assert target.read_text() == "old"
    assert leftovers(target.parent) == ["table.csv"]


@pytest.mark.row("R08")
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_disk_that_is_really_full_leaves_no_half_file(
    small_disk: Path, before: bytes | None
) -> None:
    path = small_disk / "weights.bin"
    if before:
        files.write_bytes(path, before)
    with pytest.raises(PipelineError, match=f"No space left on device, file system {small_disk}"):
        files.write_bytes(path, bytes(200_000))
    assert leftovers(small_disk) == (["weights.bin"] if before else [])
    assert not before or path.read_bytes() == before
    files.write_bytes(path, bytes(30_000))  # and the space is free again
    assert path.stat().st_size == 30_000


def _file_in_the_way(folder: Path) -> Path:
    (folder / "way").write_text("a file where a folder should be")
    return folder / "way" / "table.csv"


def _folder_in_the_way(folder: Path) -> Path:
    (folder / "table.csv").mkdir()
    return folder / "table.csv"


def _name_too_long(folder: Path) -> Path:
    return folder / f"{'x' * 300}.csv"


@pytest.mark.parametrize("place", [_file_in_the_way, _folder_in_the_way, _name_too_long])
def test_a_place_that_cannot_be_written_is_named_in_one_line(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    path = place(tmp_path)
    with pytest.raises(PipelineError) as failed:
        files.write_text(path, "new")
    assert str(failed.value).startswith(f"{path}: could not be written (")
    assert "\n" not in str(failed.value)
    assert not [name for name in leftovers(tmp_path) if ".part" in name]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A folder with one old page."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "old.html").write_text("old")
    return folder


def put(folder: Path, content: bytes, failure: type[BaseException] | None = None) -> None:
    with files.replacing_folder(folder) as temporary:
        (temporary / "new.html").write_bytes(content)
        if failure is not None:
            raise failure


def test_a_folder_is_replaced_whole(pages: Path) -> None:
    with files.replacing_folder(pages) as temporary:
        (temporary / "new.html").write_text("new")
        assert leftovers(pages) == ["old.html"]
    assert leftovers(pages) == ["new.html"]
    assert leftovers(pages.parent) == ["pages"]


def test_a_folder_that_was_not_there_is_made_with_its_parents(tmp_path: Path) -> None:
    with files.replacing_folder(tmp_path / "a" / "b") as temporary:
        (temporary / "new.html").touch()
    assert leftovers(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_folder(pages: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure):
        put(pages, b"new", failure)
    assert leftovers(pages) == ["old.html"]
    assert leftovers(pages.parent) == ["pages"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_cannot_be_renamed_keeps_the_old_one(
    pages: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    calls: list[Path] = []
    rename = Path.rename

    def fails_once(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(PipelineError, match="could not be written"):
        put(pages, b"new")
    assert leftovers(pages) == ["old.html"]
    assert leftovers(pages.parent) == ["pages"]


@pytest.mark.row("R08")
def test_a_folder_on_a_full_disk_keeps_the_old_one(small_disk: Path) -> None:
    folder = small_disk / "pages"
    folder.mkdir()
    (folder / "old.html").write_text("old")
    with pytest.raises(PipelineError, match="No space left"):
        put(folder, bytes(200_000))
    assert leftovers(small_disk) == ["pages"]
    assert leftovers(folder) == ["old.html"]


def test_an_artifact_comes_back_equal(tmp_path: Path) -> None:
    files.write_artifact(tmp_path / "note.json", NOTE)
    assert files.read_artifact(tmp_path / "note.json", Note) == NOTE


def test_equal_artifacts_are_equal_bytes(tmp_path: Path) -> None:
    reordered = Note(numbers={"a": 2.0, "b": 0.1}, text="\u00e9")
    for name, note in (("one", NOTE), ("two", reordered)):
        files.write_artifact(tmp_path / name, note)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"text",
        b"[]",
        b"\xff\xfe\x00",
        b'{"schema_version": 1, "text": "", "numbers": {}}',
        b'{"schema_version": 3, "text": "", "numbers": {}}',
        b'{"schema_version": 2, "text": "", "numbers": {}, "more": 1}',
        b'{"schema_version": 2, "text": ""}',
        b'{"schema_version": 2, "text": "", "numbers": {"a": "x"}}',
    ],
)
def test_a_foreign_artifact_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(content)
    with pytest.raises(ChangedInput) as refused:
        files.read_artifact(path, Note)
    assert str(refused.value).startswith(f"{path}: is not a Note of this version (")
    assert str(refused.value).endswith("run the step that writes it again.")
    assert "\n" not in str(refused.value)


def test_an_artifact_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    files.write_artifact(tmp_path / "note.json", Other())
    with pytest.raises(ChangedInput, match="schema_version"):
        files.read_artifact(tmp_path / "note.json", Note)


def test_a_missing_artifact_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"does not exist.* run `dvc repro`"):
        files.read_artifact(tmp_path / "note.json", Note)


def test_a_folder_in_place_of_an_artifact_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="does not exist"):
        files.read_artifact(tmp_path, Note)


def test_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    # FIPS 180-2 gives the digest of "abc"; the second file is longer than one block.
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.digest_file(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    (tmp_path / "zeros").write_bytes(bytes(3_000_000))
    assert files.digest_file(tmp_path / "zeros").startswith("35bce4eae54ec8e6")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "card.json").write_text("card")
    (folder / "deep" / "weights").write_text("weights")
    return folder


def test_digest_of_a_folder_depends_on_content_and_not_on_place(folder: Path) -> None:
    before = files.digest_folder(folder)
    moved = folder.rename(folder.with_name("elsewhere"))
    (moved / "card.json").touch()
    assert files.digest_folder(moved) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "card.json").write_text("Card"),
        lambda f: (f / "card.json").rename(f / "card"),
        lambda f: (f / "more").write_text(""),
        lambda f: (f / "deep" / "weights").unlink(),
        lambda f: (f / "deep" / "weights").rename(f / "weights"),
        lambda f: (f / ".hidden").write_text("x"),
    ],
)
def test_digest_of_a_folder_notices_every_change(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = files.digest_folder(folder)
    change(folder)
    assert files.digest_folder(folder) != before


@pytest.mark.parametrize(
    "name", [".DS_Store", "._card.json", "Thumbs.db", "DESKTOP.INI", "card.json:Zone.Identifier"]
)
def test_what_a_file_manager_leaves_does_not_change_the_digest(folder: Path, name: str) -> None:
    before = files.digest_folder(folder)
    (folder / name).write_bytes(b"x")
    (folder / "deep" / name).write_bytes(b"x")
    assert files.digest_folder(folder) == before


def test_digest_of_the_sources_covers_the_named_modules_and_folders() -> None:
    digest = files.digest_sources(["core/data", "io/files.py"])
    assert digest == files.digest_sources(["io/files.py", "core/data"])
    assert len(digest) == 64
    assert len({digest, files.digest_sources(["core/data"]), files.digest_sources(["core"])}) == 3


@pytest.mark.row("R04")
def test_what_a_killed_process_left_is_removed_but_not_what_a_live_one_writes(
    tmp_path: Path,
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    machine = files._machine()
    left = tmp_path / f".model.{machine}-{dead.pid}.part.bin"
    live = tmp_path / f".model.{machine}-{os.getppid()}.part.bin"
    elsewhere = tmp_path / f".model.pod_7-{dead.pid}.part.bin"
    for path in (left, live, elsewhere):
        path.write_bytes(b"half")
    files.write_bytes(tmp_path / "model.bin", b"whole")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {live.name, elsewhere.name, "model.bin"}


def test_pods_with_equal_process_numbers_write_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cache.npy"
    with files.replacing(path) as mine:
        mine.write_bytes(b"mine, first half")
        monkeypatch.setattr("platform.node", lambda: "tune-worker.2")
        files.write_bytes(path, b"theirs")
        assert mine.read_bytes() == b"mine, first half"
    assert path.read_bytes() == b"mine, first half"
    assert [found.name for found in tmp_path.iterdir()] == ["cache.npy"]
