"""Apply what a person decided about labels: move files, or set them aside, and back again.

    data/images/cat/3.png  --move:dog-->  data/images/dog/3.png
                           --drop-->      data/quarantine/review/cat/3.png
                           --keep-->      stays, and is not called suspicious again

Every application is a block of rows in data/review.csv, written before the first file moves, so
that running the same command again does the rest, and --undo knows what to take back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.core.errors import InvalidParams, PipelineError
from components.core.phrases import listing
from components.io import files
from pipeline import IMAGES, quarantine
from pipeline.image_folder import look
from pipeline.review_records import (
    DROP,
    JOURNAL,
    JOURNAL_COLUMNS,
    KEEP,
    UNDONE,
    confirmed,
    depth_of,
    label_of,
    read_journal,
    read_table,
)

DROPPED = quarantine.QUARANTINE / "review"


class Move(NamedTuple):
    """A file to move, by decision of a person; a label to confirm if it stays where it is.

    Attributes:
        source: where it is.
        target: where it goes.
        decision: keep, move:CLASS, drop or undo.
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
        labels: to confirm, or no longer to.
        kept: how many labels a person confirmed in the table.
        open: how many have no decision yet.
        left: files that are not moved, with the reason.
    """

    moves: list[Move]
    labels: list[Move]
    kept: int
    open: int
    left: list[tuple[Path, str]]


def plan(table: Path) -> Plan:
    """What the decisions in the table ask for.

    Raises:
        MissingInput: there is no table.
        InvalidParams: a decision is none of keep, move:CLASS and drop, or names no class.
    """
    rows = read_table(table)
    class_names = look(IMAGES).class_names
    moves, left, undecided = [], [], 0
    for number, row in enumerate(rows, start=2):
        decision = row["decision"].strip()
        undecided += not decision
        if decision in ("", KEEP):
            continue
        target = _target(f"{table}, line {number}", row["path"], decision, class_names)
        found = Move(IMAGES / row["path"], target, decision, row["sha256"])
        problem = _problem(found)
        if problem:
            left.append((found.source, problem))
        elif os.path.lexists(found.source):
            moves.append(found)
    kept = [row for row in rows if row["decision"].strip() == KEEP]
    return Plan(moves, _to_confirm(kept, class_names), len(kept), undecided, left)


def _to_confirm(kept: Sequence[Mapping[str, str]], class_names: Sequence[str]) -> list[Move]:
    """Labels that are not confirmed in the journal yet."""
    known, labels = confirmed(class_names), []
    for row in kept:
        path = Path(row["path"])
        if (row["sha256"], label_of(path, class_names)) not in known:
            labels.append(Move(IMAGES / path, IMAGES / path, KEEP, row["sha256"]))
    return labels


def plan_undo() -> Plan:
    """What takes back the last application of which something still stands."""
    entries = read_journal()
    last = {row["sha256"]: row for row in entries}
    blocks: dict[str, list[Mapping[str, str]]] = {}
    for row in entries:
        if row["decision"] != UNDONE:
            blocks.setdefault(row["time"], []).append(row)
    for block in reversed(blocks.values()):
        back = [_back(row) for row in block if row["decision"] != KEEP]
        away = [move for move in reversed(back) if os.path.lexists(move.source)]
        labels = [_back(r) for r in block if r["decision"] == KEEP and last[r["sha256"]] is r]
        if away or labels:
            problems = [(move.source, _problem(move)) for move in away]
            left = [(source, problem) for source, problem in problems if problem]
            stay = {source for source, _ in left}
            return Plan([move for move in away if move.source not in stay], labels, 0, 0, left)
    return Plan([], [], 0, 0, [])


def _back(row: Mapping[str, str]) -> Move:
    return Move(Path(row["target"]), Path(row["source"]), UNDONE, row["sha256"])


def carry_out(done: Plan, time: str) -> None:
    """Write the journal, then move the files.

    Args:
        done: the plan.
        time: names this application in the journal.

    Raises:
        PipelineError: a file cannot be moved; those before it are.
    """
    rows = [[*(row[name] for name in JOURNAL_COLUMNS)] for row in read_journal()]
    new = [*done.labels, *done.moves]
    rows += [[time, str(m.source), str(m.target), m.decision, m.sha256] for m in new]
    files.write_csv(JOURNAL, JOURNAL_COLUMNS, rows)
    for each in done.moves:
        try:
            quarantine.move(each.source, each.target)
        except OSError as error:
            raise PipelineError(
                f"{each.source}: could not be moved to {each.target} ({error.strerror or error}); "
                "fix that, then run the same command again."
            ) from error


def _target(place: str, path: str, decision: str, class_names: Sequence[str]) -> Path:
    """Where a file goes: into the same folder below another class, or aside."""
    word, _, name = decision.partition(":")
    if decision == DROP:
        return DROPPED / path
    if word != "move" or name.strip() not in class_names:
        raise InvalidParams(
            f"{place}: the decision is {decision!r}; it should be keep, drop, or move: with one of "
            f"the classes {listing(class_names, 9)}."
        )
    parts, depth = Path(path).parts, depth_of(Path(path), class_names)
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
