"""Apply what a person decided about labels: move files, or set them aside, and back again.

    data/images/cat/3.png  --move:dog-->  data/images/dog/3.png
                           --drop-->      data/quarantine/review/cat/3.png

Every application is a block of rows in data/review.csv, written before the first file moves, so
that running the same command again does the rest, and --undo knows what to bring back.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.core.errors import InvalidParams, MissingInput, PipelineError
from components.core.phrases import listing
from components.io import files
from pipeline import IMAGES, quarantine
from pipeline.image_folder import look
from pipeline.label_review import COLUMNS

JOURNAL = Path("data/review.csv")
DROPPED = quarantine.QUARANTINE / "review"

_JOURNAL_COLUMNS = ("time", "source", "target", "decision", "sha256")
_UNDONE = "undo"


class Move(NamedTuple):
    """A file to move, by decision of a person.

    Attributes:
        source: where it is.
        target: where it goes.
        decision: move:CLASS, drop or undo.
        sha256: of its bytes.
    """

    source: Path
    target: Path
    decision: str
    sha256: str


@dataclass(frozen=True)
class Plan:
    """What would be done.

    Attributes:
        moves: files to move.
        kept: how many labels a person confirmed.
        open: how many have no decision yet.
        left: files that are not moved, with the reason.
    """

    moves: list[Move]
    kept: int
    open: int
    left: list[tuple[Path, str]]


def plan(table: Path) -> Plan:
    """What the decisions in the table ask for.

    Raises:
        MissingInput: there is no table.
        InvalidParams: a decision is none of keep, move:CLASS and drop, or names no class.
    """
    rows = _read(table)
    folder = look(IMAGES)
    moves, left, kept, undecided = [], [], 0, 0
    for number, row in enumerate(rows, start=2):
        decision = row["decision"].strip()
        kept += decision == "keep"
        undecided += not decision
        if decision in ("", "keep"):
            continue
        target = _target(f"{table}, line {number}", row["path"], decision, folder.class_names)
        found = Move(IMAGES / row["path"], target, decision, row["sha256"])
        problem = _problem(found)
        if problem:
            left.append((found.source, problem))
        elif os.path.lexists(found.source):
            moves.append(found)
    return Plan(moves, kept, undecided, left)


def plan_undo() -> Plan:
    """What brings back the files of the last application of which one is still where it went."""
    blocks: dict[str, list[Mapping[str, str]]] = {}
    for row in _entries():
        if row["decision"] != _UNDONE:
            blocks.setdefault(row["time"], []).append(row)
    for block in reversed(blocks.values()):
        back = [Move(Path(r["target"]), Path(r["source"]), _UNDONE, r["sha256"]) for r in block]
        away = [move for move in reversed(back) if os.path.lexists(move.source)]
        if away:
            problems = [(move.source, _problem(move)) for move in away]
            left = [(source, problem) for source, problem in problems if problem]
            stay = {source for source, _ in left}
            return Plan([move for move in away if move.source not in stay], 0, 0, left)
    return Plan([], 0, 0, [])


def carry_out(done: Plan, time: str) -> None:
    """Write the journal, then move the files.

    Args:
        done: the plan.
        time: names this application in the journal.

    Raises:
        PipelineError: a file cannot be moved; those before it are.
    """
    rows = [[*(row[name] for name in _JOURNAL_COLUMNS)] for row in _entries()]
    rows += [[time, str(m.source), str(m.target), m.decision, m.sha256] for m in done.moves]
    files.write_csv(JOURNAL, _JOURNAL_COLUMNS, rows)
    for each in done.moves:
        try:
            quarantine.move(each.source, each.target)
        except OSError as error:
            raise PipelineError(
                f"{each.source}: could not be moved to {each.target} ({error.strerror or error}); "
                "fix that, then run the same command again."
            ) from error


def _read(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        raise MissingInput(
            f"{table}: does not exist; run `python -m pipeline review-labels`, which writes it."
        )
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise InvalidParams(
                f"{table}: lacks the columns {listing(sorted(missing), 8)}; save it as CSV with "
                "commas, and leave the first line as it was."
            )
        return list(reader)


def _entries() -> Sequence[Mapping[str, str]]:
    if not JOURNAL.is_file():
        return []
    with JOURNAL.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _target(place: str, path: str, decision: str, class_names: Sequence[str]) -> Path:
    """Where a file goes: into the same folder below another class, or aside."""
    word, _, name = decision.partition(":")
    if decision == "drop":
        return DROPPED / path
    if word != "move" or name.strip() not in class_names:
        raise InvalidParams(
            f"{place}: the decision is {decision!r}; it should be keep, drop, or move: with one of "
            f"the classes {listing(class_names, 9)}."
        )
    parts = Path(path).parts
    depth = 0 if parts[0] in class_names else 1  # below a ready-made split
    return IMAGES.joinpath(*parts[:depth], name.strip(), *parts[depth + 1 :])


def _problem(found: Move) -> str:
    """Why a file must not be moved; empty if it may, or was already."""
    if not os.path.lexists(found.source):
        arrived = found.target.is_file() and files.digest_file(found.target) == found.sha256
        return "" if arrived else "is gone; run `dvc repro validate`, then review-labels again"
    if files.digest_file(found.source) != found.sha256:
        return "has changed since; run `dvc repro validate`, then review-labels again"
    if os.path.lexists(found.target):
        return f"stays: there is another file at {found.target}"
    return ""
