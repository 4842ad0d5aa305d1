"""Check every image, split the data set, write the manifest that later steps read.

    images --scan--> files --group--> groups, splits --rules--> outcomes --> manifest, report
                              ^ groups.csv, splits.csv

A data set that breaks a rule gets all the files too, but no splits, and stops the pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from components.core.data.decoding import DataParams
from components.core.errors import InvalidData, MissingInput
from components.io import files
from components.io.data import manifest as manifest_file
from components.io.data.scan import scan
from components.io.data.split_files import read_groups, read_pinned_splits
from components.io.reports.pages import thumbnails, validation_page
from components.validate.expectations import judge
from components.validate.grouping import ScannedDataset, group_and_split
from components.validate.messages import (
    passes,
    refusal,
    summary,
    to_csv,
    to_problems,
    to_report,
    to_results,
)
from components.validate.rules import ValidateParams, suite
from components.validate.tables import to_manifest, to_tables

_THUMBNAILS, _THUMBNAIL_SIDE = 40, 96


@dataclass(frozen=True, kw_only=True)
class Params:
    """The sections of params.yaml that validate reads."""

    data: DataParams
    validate: ValidateParams


@dataclass(frozen=True, kw_only=True)
class Paths:
    """What this step reads and writes."""

    images: Annotated[
        Path, "folder of class folders, or of train/ val/ test/ with class folders"
    ] = Path("data/images")
    groups: Annotated[
        Path, "CSV of path and group: what belongs together besides near duplicates"
    ] = Path("data/groups.csv")
    pinned_splits: Annotated[
        Path, "CSV of images that keep their split; `python -m pipeline pin-splits` writes it"
    ] = Path("data/splits.csv")
    manifest: Annotated[Path, "parquet to write, one row per file found"] = Path(
        "artifacts/validate/manifest.parquet"
    )
    quarantine: Annotated[Path, "CSV to write: path, reason and rule of every problem"] = Path(
        "artifacts/validate/quarantine.csv"
    )
    report: Annotated[Path, "JSON to write, the validation report"] = Path(
        "artifacts/validate/report.json"
    )
    page: Annotated[Path, "HTML to write, the report for people"] = Path(
        "artifacts/validate/report.html"
    )
    cache: Annotated[Path, "folder that remembers what known bytes decode to; safe to delete"] = (
        Path("cache")
    )


def run(paths: Paths, params: Params) -> None:
    """Check the images and write what later steps and people read.

    Raises:
        MissingInput: there is no image folder, or one of the two tables is absent.
        InvalidData: a table is broken, or a rule of level error failed.
    """
    settings, reader = params.validate, params.data.reader
    data = _look(paths.images, paths.groups, paths.pinned_splits, paths.cache, params)
    rules = suite(settings, reader.formats)
    outcomes = judge(to_tables(data), rules)
    results = to_results(rules, outcomes, settings, data.class_names)
    frame = to_manifest(data, with_splits=passes(results))
    verdict = to_report(data, frame, results)
    problems = to_problems(data, outcomes)
    readable = {member.file.path for member in data.members}
    shown = dict.fromkeys(problem.path for problem in problems if problem.path in readable)
    pictures = thumbnails(paths.images, list(shown)[:_THUMBNAILS], reader, side=_THUMBNAIL_SIDE)
    manifest_file.write(frame, paths.manifest)
    files.write_text(paths.quarantine, to_csv(problems))
    files.write_artifact(paths.report, verdict)
    files.write_text(paths.page, validation_page(verdict, problems, pictures))
    if not verdict.success:
        raise InvalidData(f"{paths.images}: {refusal(verdict, problems)} See {paths.page}.")
    print(*summary(verdict), f"validate  report: {paths.page}", sep="\n")


def _look(images: Path, groups: Path, ledger: Path, cache: Path, params: Params) -> ScannedDataset:
    """Read the tables and every image, and group and split what was found."""
    if not images.is_dir():
        raise MissingInput(
            f"{images}: there is no such folder. Run `dvc pull`, or `python -m pipeline "
            f"sample-data`, or copy class folders there and run `dvc add {images}`."
        )
    settings, pins = params.validate, read_pinned_splits(ledger)
    found = scan(images, exclude=settings.exclude, params=params.data.reader, cache=cache)
    if pins and found.predefined_split:
        raise InvalidData(
            f"{ledger}: pins images, but {images} comes split into train, val and test; remove all "
            "lines but the first, or merge the three folders."
        )
    return group_and_split(
        found, settings, read_groups(groups, {f.path for f in found.files}), pins
    )
