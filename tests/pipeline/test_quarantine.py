"""Files go to quarantine and come back; whatever happens in between, none is lost."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from components.io import files
from pipeline import quarantine
from pipeline.cli import main

Capture = pytest.CaptureFixture[str]
IMAGES = Path("data/images")
CONTENT = {
    "cat/a.png": b"both",
    "dog/a.png": b"both",
    "cat/copy of a.png": b"both",
    "cat/broken.png": b"<html>",
    "notes.txt": b"notes",
    "cat/good.png": b"good",
    "cat/x\ny.png": b"newline",
}
LISTED = [
    ("cat/a.png", "label conflict with dog/a.png", "label_conflicts"),
    ("dog/a.png", "label conflict with cat/a.png", "label_conflicts"),
    ("cat/broken.png", "text/HTML, not an image", "max_unreadable"),
    ("notes.txt", "not inside a class folder", "unlabeled_files"),
    ("cat/x\\ny.png", "a control character", "invalid_names"),
    ("cat", "2 images", "min_images_per_class"),
]
MOVED = {*CONTENT} - {"cat/good.png"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project after a validation that listed five files."""
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        Path(name).write_text("")
    for name, content in CONTENT.items():
        files.write_bytes(IMAGES / name, content)
    files.write_csv(Path("artifacts/validate/quarantine.csv"), ["path", "reason", "rule"], LISTED)
    rows = [("cat/copy of a.png", "ignored", b"both"), ("cat/good.png", "used", b"good")]
    rows += [("cat/a.png", "used", b"both"), ("dog/a.png", "used", b"both")]
    rows += [("cat/broken.png", "quarantined", b"<html>")]
    table = [
        {"path": path, "status": status, "sha256": files.digest_file(IMAGES / path)}
        for path, status, _ in rows
    ]
    # Not opened by validate.
    table += [
        {"path": p, "status": "quarantined", "sha256": ""} for p in ("notes.txt", "cat/x\\ny")
    ]
    pd.DataFrame(table).to_parquet("artifacts/validate/manifest.parquet")
    return tmp_path


def contents(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def moved() -> dict[str, bytes]:
    """All that is in quarantine, without the tables."""
    found: dict[str, bytes] = {}
    for folder in quarantine.QUARANTINE.glob("*"):
        found |= {k: v for k, v in contents(folder).items() if k != quarantine.MOVES}
    return found


def test_what_is_listed_moves_with_its_copies_and_comes_back(capsys: Capture) -> None:
    assert main(["quarantine", "--yes"]) == 0
    assert contents(IMAGES) == {"cat/good.png": b"good"}
    assert moved() == {name: CONTENT[name] for name in MOVED}
    text = capsys.readouterr().out
    assert "moved 6 files from data/images to data/quarantine/2" in text
    assert text.endswith("next: dvc add data/images\n      dvc repro\n")
    (table,) = quarantine.QUARANTINE.glob("*/moves.csv")
    with table.open(newline="") as file:
        rows = {row["path"]: (row["rule"], row["reason"]) for row in csv.DictReader(file)}
    assert rows["cat/a.png"] == ("label_conflicts", "label conflict with dog/a.png")
    assert rows["cat/copy of a.png"][0] == "label_conflicts"
    assert rows["cat/copy of a.png"][1].startswith("a copy of ")
    assert main(["quarantine", "--undo", "--yes"]) == 0
    assert contents(IMAGES) == CONTENT
    assert moved() == {}


def test_a_rule_chooses_in_both_directions(capsys: Capture) -> None:
    assert (
        main(["quarantine", "--rule", "max_unreadable", "--rule", "unlabeled_files", "--yes"]) == 0
    )
    assert {*moved()} == {"cat/broken.png", "notes.txt"}
    assert main(["quarantine", "--undo", "--rule", "max_unreadable", "--yes"]) == 0
    assert {*moved()} == {"notes.txt"}
    assert main(["quarantine", "--rule", "max_unreadble", "--yes"]) == 1
    assert "no file breaks max_unreadble; it lists invalid_names, label" in capsys.readouterr().err


def test_a_dry_run_and_a_missing_yes_move_nothing(capsys: Capture) -> None:
    assert main(["quarantine", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "cat/x\\ny.png" in text
    assert "would move 6 files" in text
    assert main(["quarantine"]) == 2  # nobody to ask
    assert contents(IMAGES) == CONTENT
    assert not quarantine.QUARANTINE.exists()


def test_a_file_that_has_changed_since_is_left_and_named(capsys: Capture) -> None:
    (IMAGES / "cat/broken.png").write_bytes(b"mended")
    (IMAGES / "notes.txt").write_bytes(b"newer")
    later = Path("artifacts/validate/quarantine.csv").stat().st_mtime + 5
    os.utime(IMAGES / "notes.txt", (later, later))
    assert main(["quarantine", "--yes"]) == 3
    assert {*moved()} == MOVED - {"cat/broken.png", "notes.txt"}
    text = capsys.readouterr().out
    assert "! cat/broken.png: has changed since validate; run `dvc repro validate`" in text
    assert "! notes.txt: has changed" in text


def test_nothing_is_overwritten_on_the_way_back(capsys: Capture) -> None:
    assert main(["quarantine", "--yes"]) == 0
    (IMAGES / "notes.txt").write_bytes(b"another")
    assert main(["quarantine", "--undo", "--yes"]) == 3
    assert contents(IMAGES) == {**CONTENT, "notes.txt": b"another"}
    assert moved() == {"notes.txt": b"notes"}
    assert "! notes.txt: stays in data/quarantine/2" in capsys.readouterr().out


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize("done", range(6))
def test_killed_in_the_middle_the_same_command_or_the_way_back_does_the_rest(
    monkeypatch: pytest.MonkeyPatch, undo: bool, done: int
) -> None:
    move, left = quarantine.move, [done]

    def killed(source: Path, target: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        move(source, target)

    monkeypatch.setattr(quarantine, "move", killed)
    assert main(["quarantine", "--yes"]) == 130
    monkeypatch.setattr(quarantine, "move", move)
    everything = {**contents(IMAGES), **moved()}
    assert everything == CONTENT
    assert main(["quarantine", "--yes", *["--undo"] * undo]) == 0
    assert contents(IMAGES) == (CONTENT if undo else {"cat/good.png": b"good"})
    assert main(["quarantine", "--undo", "--yes"]) == 0
    assert contents(IMAGES) == CONTENT


def test_a_file_copied_by_a_killed_process_to_another_disk_is_not_doubled() -> None:
    assert main(["quarantine", "--yes"]) == 0
    (folder,) = quarantine.QUARANTINE.iterdir()
    shutil.copy2(folder / "notes.txt", IMAGES / "notes.txt")
    assert main(["quarantine", "--undo", "--yes"]) == 0
    assert contents(IMAGES) == CONTENT
    assert moved() == {}


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("/etc/passwd"), os.mkfifo])
def test_links_and_pipes_are_moved_as_they_are(make: Callable[[Path], object]) -> None:
    odd = IMAGES / "cat/odd.png"
    make(odd)
    os.utime(odd, (1, 1), follow_symlinks=False)
    table = Path("artifacts/validate/quarantine.csv")
    rows = [("cat/odd.png", "a symbolic link", "non_regular_files")]
    files.write_csv(table, ["path", "reason", "rule"], rows)
    before = odd.lstat()
    assert main(["quarantine", "--yes"]) == 0
    assert not os.path.lexists(odd)
    assert main(["quarantine", "--undo", "--yes"]) == 0
    after = odd.lstat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def test_another_disk_gets_a_whole_copy_first(small_disk: Path) -> None:
    small_disk.joinpath("images").mkdir()
    shutil.copytree(IMAGES, small_disk / "images", dirs_exist_ok=True)
    shutil.rmtree(IMAGES)
    IMAGES.symlink_to(small_disk / "images")
    assert main(["quarantine", "--yes"]) == 0
    assert moved() == {name: CONTENT[name] for name in MOVED}
    assert main(["quarantine", "--undo", "--yes"]) == 0
    assert contents(IMAGES) == CONTENT


def test_before_a_validation_it_says_what_to_run(capsys: Capture) -> None:
    shutil.rmtree("artifacts")
    assert main(["quarantine", "--yes"]) == 1
    assert "dvc repro validate" in capsys.readouterr().err
    assert main(["quarantine", "--undo", "--yes"]) == 0
    assert "nothing to move" in capsys.readouterr().out
