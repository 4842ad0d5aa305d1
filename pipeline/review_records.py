"""What people decided about labels: the table that they fill in, and the journal of what was done.

    artifacts/review/labels.csv    written by review-labels, decided in by a person
    data/review.csv                written by apply-review, committed

Both name an image by the SHA-256 of its bytes, since its path changes when its label does.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath

from components.core.errors import InvalidParams, MissingInput
from components.core.phrases import listing
from pipeline import IMAGES

FOLDER = Path("artifacts/review")
TABLE = FOLDER / "labels.csv"
COLUMNS = (
    "decision", "path", "label", "proposed", "p_label", "p_proposed", "split", "sha256",
)  # fmt: skip

JOURNAL = Path("data/review.csv")
JOURNAL_COLUMNS = ("time", "source", "target", "decision", "sha256")
KEEP, DROP, UNDONE = "keep", "drop", "undo"


def read_table(table: Path) -> list[dict[str, str]]:
    """The rows of the table.

    Raises:
        MissingInput: there is none.
        InvalidParams: it lacks columns.
    """
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


def decisions(table: Path) -> dict[tuple[str, str], str]:
    """What is decided in the table, by SHA-256 and label; empty if there is no table.

    The label belongs to it: once a file is moved, what was said about its old label is done.
    """
    rows = read_table(table) if table.is_file() else []
    return {(r["sha256"], r["label"]): said for r in rows if (said := r["decision"].strip())}


def read_journal() -> Sequence[Mapping[str, str]]:
    """What was applied, oldest first."""
    if not JOURNAL.is_file():
        return []
    with JOURNAL.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def confirmed(class_names: Collection[str]) -> set[tuple[str, str]]:
    """SHA-256 and label of the images whose label a person chose: kept, or moved to.

    The last word about an image counts, and none of what was undone.

    Args:
        class_names: folders that are classes.
    """
    last = {row["sha256"]: row for row in read_journal()}
    return {
        (digest, label_of(Path(row["target"]).relative_to(IMAGES), class_names))
        for digest, row in last.items()
        if row["decision"] not in (DROP, UNDONE)
    }


def label_of(path: PurePath, class_names: Collection[str]) -> str:
    """Class of a file by its path below the image folder."""
    return path.parts[depth_of(path, class_names)]


def depth_of(path: PurePath, class_names: Collection[str]) -> int:
    """Which part of the path is the class: the second one below a ready-made split."""
    return 0 if path.parts[0] in class_names else 1
