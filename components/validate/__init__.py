"""Check every image, split the data set, write the manifest that later steps read.

    images --scan--> files --group--> groups, splits --rules--> outcomes --> manifest, report
                              ^ groups.csv, splits.csv

A data set that breaks a critical rule gets all outputs too, but no splits, and stops the pipeline.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from components.core.data.decoding import DataParams
from components.core.data.grouping import ScannedDataset, group_and_split
from components.core.errors import InvalidData, MissingInput
from components.io import files
from components.io.data import manifest as manifest_file
from components.io.data import recorded
from components.io.data.scan import scan
from components.io.data.split_files import read_groups, read_pinned_splits
from components.io.reports.pages import thumbnails
from components.io.reports.validation import validation_page
from components.validate.expectations import run_expectations
from components.validate.groups import PAIR_COLUMNS, class_samples, largest_groups, pair_rows
from components.validate.messages import (
    passes,
    refusal,
    summary,
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
        Path, "CSV of path and group: which images stay in one split, besides near duplicates"
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
    near_duplicates: Annotated[Path, "CSV to write: pairs of near duplicates, by group"] = Path(
        "artifacts/validate/near_duplicates.csv"
    )
    report: Annotated[Path, "JSON to write, the validation report"] = Path(
        "artifacts/validate/report.json"
    )
    page: Annotated[Path, "HTML to write, the report for people"] = Path(
        "artifacts/validate/report.html"
    )
    cache: Annotated[Path, "folder that keeps what known bytes decode to; safe to delete"] = Path(
        "cache"
    )


def run(paths: Paths, params: Params) -> None:
    """Check the images and write what later steps and people read.

    Raises:
        MissingInput: there is no image folder, or one of the two tables is absent.
        InvalidData: a table is broken, or a critical rule failed.
    """
    settings, decode_params = params.validate, params.data.decode_params
    data = _scan_and_split(paths, params)
    rules = suite(settings, decode_params.formats)
    outcomes = run_expectations(to_tables(data), rules)
    gc.collect()  # Great Expectations holds the tables in cycles: 200 bytes an image
    results = to_results(rules, outcomes, settings, data.class_names)
    manifest = to_manifest(data, with_splits=passes(results))
    report = to_report(data, manifest, results)
    problems = to_problems(data, outcomes)
    readable = {item.file.path for item in data.items}
    broken = dict.fromkeys(problem.path for problem in problems if problem.path in readable)
    strips = largest_groups(data)
    samples = class_samples(data) if report.success else []
    shown = [*list(broken)[:_THUMBNAILS], *(path for strip in strips for path, _ in strip.shown)]
    shown += [path for row in samples for path in row.paths]
    jpegs = thumbnails(paths.images, shown, decode_params, side=_THUMBNAIL_SIDE)
    manifest_file.write(manifest, paths.manifest)
    rows = ([problem.path, problem.reason, problem.rule] for problem in problems)
    files.write_csv(paths.quarantine, ["path", "reason", "rule"], rows)
    files.write_csv(paths.near_duplicates, PAIR_COLUMNS, pair_rows(data))
    files.write_artifact(paths.report, report)
    files.write_text(paths.page, validation_page(report, problems, strips, jpegs, samples))
    if not report.success:
        raise InvalidData(f"{paths.images}: {refusal(report, problems)} See {paths.page}.")
    print(*summary(report, data.split_folders), f"validate  report: {paths.page}", sep="\n")


def _recorded(images: Path) -> Mapping[str, str]:
    """The MD5s that DVC recorded; says so where there should be some and are none."""
    found = recorded.read(images)
    if found.unknown:
        print(f"validate  {images}.dvc: not compared, because {found.unknown}", flush=True)
    return found.md5s


def _scan_and_split(paths: Paths, params: Params) -> ScannedDataset:
    """Read the tables and every image, then group and split what was found."""
    images = paths.images
    if not images.is_dir():
        raise MissingInput(
            f"{images}: there is no such folder. Run `dvc pull`, or `python -m pipeline "
            f"sample-data`, or copy class folders there and run `dvc add {images}`."
        )
    pinned = {pixels: pin.split for pixels, pin in read_pinned_splits(paths.pinned_splits).items()}
    found = scan(
        images,
        exclude=params.validate.exclude,
        params=params.data.decode_params,
        cache=paths.cache,
        sides=params.validate.side_limits,
        md5s=_recorded(images),
    )
    if pinned and found.split_folders:
        raise InvalidData(
            f"{paths.pinned_splits}: pins images, but {images} has a predefined split (folders "
            f"{', '.join(found.split_folders)}); remove all lines but the header, or merge the "
            "three folders."
        )
    groups = read_groups(paths.groups, {file.path for file in found.files})
    return group_and_split(found, params.validate, groups, pinned)
