"""Move the files that validate lists out of the image folder, and back again.

    data/images/cat/3.png  <-->  data/quarantine/20261128T134500Z/cat/3.png, beside moves.csv

Nothing is overwritten or deleted, and the folders themselves say what was moved: after a crash,
running the same command again does the rest.
"""

from __future__ import annotations

import csv
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from components.core.errors import InvalidParams, MissingInput, PipelineError
from components.io import files
from components.io.data.scan import printable

QUARANTINE = Path("data/quarantine")
MOVES = "moves.csv"

_COLUMNS = ("path", "rule", "reason")


class Move(NamedTuple):
    """A file to move.

    Attributes:
        path: relative to the image folder, as validate shows it.
        rule: that the file breaks; the first one if there are several.
        reason: why the file is not used.
        source: where it is.
        target: where it goes.
    """

    path: str
    rule: str
    reason: str
    source: Path
    target: Path


class Left(NamedTuple):
    """A file that is not moved, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What would be moved.

    Attributes:
        moves: by path.
        left: listed, but not to be moved; those that are gone are not among them.
        table: CSV to write first, with the path, rule and reason of each move; None on the way
            back.
    """

    moves: list[Move]
    left: list[Left]
    table: Path | None


def plan_quarantine(
    images: Path, listed: Path, manifest: Path, rules: Collection[str], now: datetime
) -> Plan:
    """What to move out of `images`: the listed files, and byte-for-byte copies of them.

    Copies were dropped as duplicates; left alone, the next validation would list them.

    Args:
        images: the image folder.
        listed: validate's quarantine.csv.
        manifest: of the same validation.
        rules: only files that break one of these; empty = all.
        now: names the folder that the files go to.

    Raises:
        MissingInput: validate has not run.
        InvalidParams: nothing breaks one of the `rules`.
    """
    problems = _read_problems(listed, rules)
    digests = _read_digests(manifest)
    by_digest = {digests[path][0]: path for path in problems if digests.get(path, ("",))[0]}
    for path, (digest, status) in digests.items():
        if status == "ignored" and digest in by_digest and path not in problems:
            original = by_digest[digest]
            problems[path] = (problems[original][0], f"a copy of {original}")
    written, target = listed.stat().st_mtime_ns, _unused_folder(now)
    moves, left = [], []
    for shown, path in sorted(_files(images).items()):
        if shown not in problems:
            continue
        if _changed(images / path, digests.get(shown, ("",))[0], written):
            left.append(Left(shown, "has changed since validate; run `dvc repro validate`"))
        else:
            moves.append(Move(shown, *problems[shown], images / path, target / path))
    return Plan(moves, left, target / MOVES)


def plan_undo(images: Path, rules: Collection[str]) -> Plan:
    """What to move back into `images`: all that is in quarantine, the latest first.

    Args:
        images: the image folder.
        rules: only files that were moved for one of these; empty = all.
    """
    moves, left, taken = [], [], set()
    folders = sorted(QUARANTINE.iterdir(), reverse=True) if QUARANTINE.is_dir() else []
    for folder in (place for place in folders if place.is_dir()):
        table = folder / MOVES
        known = _read_problems(table, ()) if table.is_file() else {}
        for shown, path in sorted(_files(folder).items()):
            rule, reason = known.get(shown, ("", ""))
            if path == MOVES or (rules and rule not in rules):
                continue
            source, target = folder / path, images / path
            if target in taken or (os.path.lexists(target) and not _equal(source, target)):
                left.append(Left(shown, f"stays in {folder}: {images} has another file there"))
            else:
                taken.add(target)
                moves.append(Move(shown, rule, reason, source, target))
    return Plan(moves, left, None)


def carry_out(plan: Plan) -> None:
    """Write the table of the plan, then move each file.

    Raises:
        PipelineError: a file cannot be moved; those before it are.
    """
    if plan.moves and plan.table:
        rows = [[each.path, each.rule, each.reason] for each in plan.moves]
        files.write_csv(plan.table, _COLUMNS, rows)
    for each in plan.moves:
        try:
            move(each.source, each.target)
        except OSError as error:
            raise PipelineError(
                f"{each.source}: could not be moved to {each.target} ({error.strerror or error}); "
                "fix that, then run the same command again."
            ) from error
    if plan.table is None:
        _remove_empty_folders()


def move(source: Path, target: Path) -> None:
    """Move a file, or a link as it is; what is at `target` stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        if not _equal(source, target):
            raise FileExistsError(f"{target} exists")
        source.unlink()  # a killed process has copied it, and no more
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_to_another_disk(source, target)
        source.unlink()


def _copy_to_another_disk(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_file():
        with files.replacing(target) as temporary:
            shutil.copy2(source, temporary)
    else:
        raise OSError("it is no file, and the other folder is on another disk")


def _equal(first: Path, second: Path) -> bool:
    """Whether two files, or links, have the same content."""
    if first.is_symlink() or second.is_symlink():
        both = first.is_symlink() and second.is_symlink()
        return both and first.readlink() == second.readlink()
    regular = first.is_file() and second.is_file()
    return regular and files.digest_file(first) == files.digest_file(second)


def _read_problems(table: Path, rules: Collection[str]) -> dict[str, tuple[str, str]]:
    """Path -> rule and reason, of the first line about it."""
    if not table.is_file():
        raise MissingInput(f"{table}: does not exist; run `dvc repro validate`, which writes it.")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [(row["path"], row["rule"], row["reason"]) for row in csv.DictReader(file)]
    if unknown := sorted({*rules} - {rule for _, rule, _ in rows}):
        found = ", ".join(sorted({rule for _, rule, _ in rows})) or "no rule"
        raise InvalidParams(f"{table}: no file breaks {unknown[0]}; it lists {found}.")
    chosen = [row for row in rows if not rules or row[1] in rules]
    return {path: (rule, reason) for path, rule, reason in reversed(chosen)}


def _read_digests(manifest: Path) -> dict[str, tuple[str, str]]:
    """Path -> SHA-256, empty if the file was not read, and status."""
    import pandas as pd

    files.require_file(manifest)
    table = pd.read_parquet(manifest, columns=["path", "sha256", "status"])
    rows = zip(*(table[name].astype(str) for name in table.columns), strict=True)
    return {path: (sha256, status) for path, sha256, status in rows}


def _changed(path: Path, sha256: str, written: int) -> bool:
    """Whether a file is another one than validate saw; by its time where it was not read."""
    if not sha256:
        return path.lstat().st_mtime_ns > written
    return not path.is_file() or files.digest_file(path) != sha256


def _files(root: Path) -> dict[str, str]:
    """All below `root` that is no folder: as validate shows it -> relative path."""
    return {printable(path): path for path in _walk(root)}


def _walk(root: Path) -> Iterator[str]:
    for place, folders, names in os.walk(root):
        # A link to a folder is listed among the folders, and not entered.
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (os.path.relpath(Path(place, name), root) for name in (*links, *names))


def _unused_folder(now: datetime) -> Path:
    stem = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while (folder := QUARANTINE / (f"{stem}-{number}" if number > 1 else stem)).exists():
        number += 1
    return folder


def _remove_empty_folders() -> None:
    """Folders of the quarantine without a file, and tables whose files are all back."""
    for folder in [place for place in QUARANTINE.iterdir() if place.is_dir()]:
        if {*_walk(folder)} <= {MOVES}:
            (folder / MOVES).unlink(missing_ok=True)
            for place, _, _ in os.walk(folder, topdown=False):
                Path(place).rmdir()
