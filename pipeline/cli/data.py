"""Commands of the data: sample-data, pin-splits, quarantine, review-labels, apply-review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import IMAGES
from pipeline.cli.common import EXIT_NEEDS_ACTION, DryRun, Yes, ask, print_table

if TYPE_CHECKING:
    from pipeline.quarantine import Plan

_PANEL = "data"


def add(app: typer.Typer) -> None:
    """Add the commands."""
    commands: tuple[Callable[..., object], ...] = (
        sample_data, pin_splits, quarantine, review_labels, apply_review,
    )  # fmt: skip
    for command in commands:
        name = command.__name__.replace("_", "-")
        app.command(name, rich_help_panel=_PANEL, epilog=_EXAMPLES[name])(command)


_EXAMPLES = {
    "sample-data": "Example: python -m pipeline sample-data",
    "pin-splits": "Example: python -m pipeline pin-splits && git diff data/splits.csv",
    "review-labels": "Example: python -m pipeline review-labels --folds 3",
    "apply-review": "Example: python -m pipeline apply-review --dry-run",
    "quarantine": "Example: python -m pipeline quarantine --rule label_conflicts --dry-run",
}


def sample_data(
    images: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write to.")] = IMAGES,
) -> None:
    """Write the sample data set: 2,223 images of solar cells in two class folders.

    Running it again repairs files that are missing or changed. A folder that holds anything else is
    left alone.
    """
    from pipeline import sample_data as sample

    sample.materialize(images)
    if images == IMAGES:
        sample.record()


def pin_splits(
    manifest: Annotated[
        Path, typer.Option(metavar="FILE", help="Manifest of the last validation.")
    ] = Path("artifacts/validate/manifest.parquet"),
    report: Annotated[
        Path, typer.Option(metavar="FILE", help="Report of the same validation.")
    ] = Path("artifacts/validate/report.json"),
    pinned_splits: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV file to extend; commit it to git.")
    ] = Path("data/splits.csv"),
) -> None:
    """Pin the split of every image of the last validation, so that new data move none of them."""
    from components.io.data import split_files

    print(split_files.pin_splits(manifest, report, pinned_splits))


def quarantine(
    images: Annotated[Path, typer.Option(metavar="FOLDER", help="The image folder.")] = IMAGES,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only files that break this rule; may be repeated."),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Move everything back to where it was.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> int:
    """Move the files that quarantine.csv lists to data/quarantine, or back; nothing is deleted.

    Of files with equal pixels and different labels all are listed, so all are moved: bring back
    those whose label is right. Exit code 3: a file was left where it is.
    """
    from datetime import UTC, datetime

    from components.core.phrases import count
    from pipeline import quarantine as moving

    if undo:
        plan, where = moving.plan_undo(images, rule or []), f"back to {images}"
    else:
        found = Path("artifacts/validate")
        tables = found / "quarantine.csv", found / "manifest.parquet"
        plan = moving.plan_quarantine(images, *tables, rule or [], datetime.now(UTC))
        where = f"from {images} to {plan.table.parent if plan.table else moving.QUARANTINE}"
    _print_plan(plan, every_file=dry_run)
    done = f"{count(len(plan.moves), 'file')} {where}"
    if dry_run or not plan.moves:
        print(f"quarantine: would move {done}" if plan.moves else "quarantine: nothing to move")
    elif ask(yes)(f"quarantine: move {done}"):
        moving.carry_out(plan)
        print(f"quarantine: moved {done}", f"next: dvc add {images}", "      dvc repro", sep="\n")
    return EXIT_NEEDS_ACTION if plan.left else 0


def _print_plan(plan: Plan, *, every_file: bool) -> None:
    """Files for each rule, or each of them; and each one that is left."""
    if every_file:
        print_table(("path", "rule", "reason"), [move[:3] for move in plan.moves])
    else:
        by_rule = Counter(move.rule for move in plan.moves)
        print_table(("rule", "files"), [(rule, f"{size:,}") for rule, size in by_rule.items()])
    for path, reason in plan.left:
        print(f"! {path}: {reason}")


def review_labels(
    folds: Annotated[
        int, typer.Option(min=2, max=20, metavar="N", help="Trainings; each leaves 1/N out.")
    ] = 5,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many labels are listed.")
    ] = 1000,
) -> None:
    """List labels of all splits that are likely wrong, most suspicious first, with their images.

    Trains once for each fold; a stopped search goes on where it was. What is decided in the table
    stays in it; labels that a person confirmed are left out.
    """
    from components import train
    from components.core.evaluation import label_issues
    from components.core.phrases import count
    from components.io import params
    from pipeline import SETTINGS, label_review, review_records

    review_records.decisions(review_records.TABLE)  # a spoiled one is refused before training
    settings = params.load(SETTINGS, train.Params)
    everything = label_review.open_all(settings)
    probabilities = label_review.out_of_fold(everything, settings, folds, Path("cache"))
    suspicion = label_issues.find(probabilities, everything.images.labels)
    found = label_review.write(everything, suspicion, probabilities, limit)
    left_out = f"; {found.confirmed:,} left out as confirmed" if found.confirmed else ""
    suspicious = count(found.suspicious, "suspicious label")
    print(f"{suspicious} of {count(found.images, 'image')}{left_out}")
    print(f"look at {found.page}", f"decide in {found.table}: keep, move:CLASS or drop", sep="\n")
    print("then: python -m pipeline apply-review --dry-run")


def apply_review(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="The table with the decisions.")
    ] = Path("artifacts/review/labels.csv"),
    undo: Annotated[bool, typer.Option("--undo", help="Bring back what was applied last.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> int:
    """Move files to the class that a person decided, or aside; nothing is deleted.

    data/review.csv records each move and confirmed label. Exit code 3: a file was left where it
    is.
    """
    from datetime import UTC, datetime

    from components.core.phrases import count
    from pipeline import apply_review as applying
    from pipeline import review_records

    plan = applying.plan_undo() if undo else applying.plan(table)
    print_table(("from", "to", "decision"), [[*map(str, m[:3])] for m in plan.moves])
    for path, reason in plan.left:
        print(f"! {path}: {reason}")
    if not undo:
        print(f"{plan.kept:,} kept, {plan.open:,} without a decision")
    what = f"{'take back' if undo else 'record'} {count(len(plan.labels), 'confirmed label')}"
    todo = [f"move {count(len(plan.moves), 'file')}"] if plan.moves else []
    doing = " and ".join([*todo, what] if plan.labels else todo)
    if dry_run or not doing:
        print(f"apply-review: would {doing}" if doing else "apply-review: nothing to move")
    elif ask(yes)(f"apply-review: {doing}"):
        applying.carry_out(plan, datetime.now(UTC).isoformat(timespec="milliseconds"))
        print(f"apply-review: done: {doing}; recorded in {review_records.JOURNAL}")
        if plan.moves:
            print(f"next: dvc add {IMAGES}", "      dvc repro", sep="\n")
    return EXIT_NEEDS_ACTION if plan.left else 0
