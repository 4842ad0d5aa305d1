"""Check every image, split the data set, write the manifest that later steps read.

    images --scan--> files --arrange--> groups, splits --judge--> outcomes --> manifest, report
                              ^ groups.csv, splits.csv

A data set that breaks a rule gets all the files too, but no splits, and stops the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import InvalidData, MissingInput
from components.core.images import DataParams
from components.io import files
from components.io import manifest as manifest_file
from components.io.command import run_step
from components.io.placement import read_groups, read_ledger
from components.io.report import thumbnails, validation_page
from components.io.scan import scan
from components.validate.judge import judge
from components.validate.placing import DataSet, arrange
from components.validate.rules import ValidateParams, suite
from components.validate.tables import to_manifest, to_tables
from components.validate.verdict import (
    passes,
    refusal,
    summary,
    to_csv,
    to_problems,
    to_report,
    to_results,
)

_THUMBNAILS, _THUMBNAIL_SIDE = 40, 96


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections of params.yaml that validate reads."""

    data: DataParams
    validate: ValidateParams


def run(
    *,
    images: Path,
    groups: Path,
    ledger: Path,
    manifest: Path,
    quarantine: Path,
    report: Path,
    page: Path,
    cache: Path,
    params: Params,
) -> None:
    """Check the images and write what later steps and people read.

    Args:
        images: folder of class folders, or of train/ val/ test/ with class folders.
        groups: CSV of path and group: what belongs together besides look-alikes.
        ledger: CSV of pictures that keep their split; `pipeline.pins` writes it.
        manifest: parquet to write, one row per file found.
        quarantine: CSV to write: path, reason and rule of every problem.
        report: JSON to write, a `ValidationReport`.
        page: HTML to write, the report for people.
        cache: folder that remembers what known bytes decode to; safe to delete.
        params: settings.

    Raises:
        MissingInput: there is no image folder, or one of the two tables is absent.
        InvalidData: a table is broken, or a rule of level error failed.
    """
    settings, reader = params.validate, params.data.reader
    data = _look(images, groups, ledger, cache, params)
    rules = suite(settings, reader.formats)
    outcomes = judge(to_tables(data), rules)
    results = to_results(rules, outcomes, settings, data.class_names)
    frame = to_manifest(data, with_splits=passes(results))
    verdict = to_report(data, frame, results)
    problems = to_problems(data, outcomes)
    readable = {member.file.path for member in data.members}
    shown = dict.fromkeys(problem.path for problem in problems if problem.path in readable)
    pictures = thumbnails(images, list(shown)[:_THUMBNAILS], reader, side=_THUMBNAIL_SIDE)
    manifest_file.write(frame, manifest)
    files.write_text(quarantine, to_csv(problems))
    files.write_artifact(report, verdict)
    files.write_text(page, validation_page(verdict, problems, pictures))
    if not verdict.success:
        raise InvalidData(f"{images}: {refusal(verdict, problems)} See {page}.")
    print(*summary(verdict), f"validate  report: {page}", sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: every path of `run`, and --params."""
    return run_step(run, Params, argv)


def _look(images: Path, groups: Path, ledger: Path, cache: Path, params: Params) -> DataSet:
    """Read the tables and every image, and arrange what was found."""
    if not images.is_dir():
        raise MissingInput(
            f"{images}: there is no such folder. Run `dvc pull`, or `python -m pipeline "
            f"sample-data`, or copy class folders there and run `dvc add {images}`."
        )
    settings, pins = params.validate, read_ledger(ledger)
    found = scan(images, exclude=settings.exclude, params=params.data.reader, cache=cache)
    if pins and found.ready_made:
        raise InvalidData(
            f"{ledger}: pins images, but {images} comes split into train, val and test; remove all "
            "lines but the first, or merge the three folders."
        )
    return arrange(found, settings, read_groups(groups, {f.path for f in found.files}), pins)
