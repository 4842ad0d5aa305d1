"""The page of a run put together: what is shown, and the tables beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.core.data.decoding import ImageParams
from components.core.evaluation.changes import Change, find_changes
from components.core.evaluation.diagnosis import Finding
from components.core.evaluation.metrics import confusion, most_confused
from components.io import files, models
from components.io.reports.decision import decision_values, gallery
from components.io.reports.pages import render
from components.io.reports.run import data, evaluation, findings, training
from components.io.reports.run.files import Row, RunFiles, RunPaths, read
from components.io.reports.run.thumbnails import Thumbnails
from components.io.reports.summary import summarize

PAGE = "index.html"

_CODE, _TEMPLATES = ("io/reports",), Path(__file__).parent.parent / "templates"

_SIDE = 96  # pixels of an image
_ERRORS, _DATA_CHANGES, _QUARANTINE = 24, 12, 20


class Page(NamedTuple):
    """A page that was written, with the findings about the mistakes on it."""

    path: Path
    findings: list[Finding]


def write_page(
    paths: RunPaths, params: ImageParams, lineage: Mapping[str, str] | None = None
) -> Page | None:
    """Write the folder report among the artifacts; None when no data was validated.

    Args:
        paths: where the results are.
        params: how bytes become pixels.
        lineage: where the run comes from, e.g. git -> revision.

    Returns:
        Where the page is, its tables beside it, and what the mistakes say about the data.
    """
    found = read(paths)
    if found is None:
        return None
    target = paths.artifacts / "report"
    with files.replacing_folder(target) as folder:
        write_tables(folder, found)
        html = run_page(found, params, lineage or {})
        files.write_text(folder / PAGE, f"{html}<!-- {contents(paths)} -->\n")
    return Page(target / PAGE, findings.about_mistakes(found))


def contents(paths: RunPaths) -> str:
    """Digest of the results that a page shows and of the code that draws it, not of the costs.

    Any of them may be absent.
    """
    results = [
        paths.data.report,
        paths.artifacts / "tune/trials.csv",
        paths.artifacts / "train/history.csv",
        paths.model / models.CARD,
        paths.evaluated / "evaluation.json",
        paths.decision,
    ]
    digests = [files.digest_file(path) if path.is_file() else "" for path in results]
    digests += [files.digest_sources(_CODE), files.digest_folder(_TEMPLATES)]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def up_to_date(paths: RunPaths) -> Path | None:
    """The page among the artifacts, if it shows what is there now."""
    page = paths.artifacts / "report" / PAGE
    end = f"<!-- {contents(paths)} -->\n".encode()
    if not page.is_file():
        return None
    with page.open("rb") as file:
        file.seek(max(page.stat().st_size - len(end), 0))
        return page if file.read() == end else None


def run_page(found: RunFiles, params: ImageParams, lineage: Mapping[str, str]) -> str:
    """The page; equal arguments give equal bytes."""
    images = Thumbnails(found.images, params, _SIDE)
    values: dict[str, Any] = {"files": found, "lineage": lineage, "images": images.uris}
    values |= {"record": None, "matrix": None, "findings": findings.find(found)}
    values |= _decision(found, images)
    values |= _evaluation(found, images)
    values |= _data(found, images)
    values |= _training(found, images)
    return render("run.html", **values)


def _decision(found: RunFiles, images: Thumbnails) -> dict[str, Any]:
    if found.record is None or found.predictions is None:
        return {}
    changes = find_changes(found.predictions, found.champion)
    images.add(change.path for change in gallery(changes))
    summary = summarize(found.record, found.predictions, changes)
    shown: dict[str, list[Row]] = {}
    for row in found.data_changes:
        if len(rows := shown.setdefault(row["kind"], [])) < _DATA_CHANGES:
            rows.append(row)
    images.add(row["path"] for kind in ("relabeled", "added") for row in shown.get(kind, []))
    return {**decision_values(found.record, summary), "data_changes": shown}


def _evaluation(found: RunFiles, images: Thumbnails) -> dict[str, Any]:
    predictions = found.predictions
    if predictions is None or found.evaluation is None:
        return {}
    errors = found.errors[:_ERRORS]
    images.add(row["path"] for row in errors)
    matrix = evaluation.matrix(predictions)
    cells = [cell for _, row in matrix.rows for cell in row if cell.images]
    for cell in sorted(cells, key=lambda cell: (cell.right, -cell.images)):
        images.add(cell.paths)
    rows = evaluation.class_rows(predictions, found.champion)
    return {
        "matrix": matrix,
        "cells": cells,
        "mistake": _mistake(found),
        "class_rows": (shown := evaluation.weakest(rows)),
        "fewer": any(row.champion_has_fewer for row in shown),
        "num_classes": len(rows),
        "errors": errors,
        "heat_maps": {path: images.embed(jpeg) for path, jpeg in found.heat_maps.items()},
        "confidence_charts": [
            chart
            for chart in (
                evaluation.reliability_chart(found),
                evaluation.coverage_chart(predictions),
            )
            if chart
        ],
    }


def _mistake(found: RunFiles) -> str:
    """The most frequent one, in words."""
    assert found.predictions is not None
    predictions = found.predictions
    names = predictions.class_names
    counts = confusion(predictions.labels, predictions.predicted, len(names))
    for true, predicted, count in most_confused(counts, 1):
        whole = int(counts[true].sum())
        return (
            f"Most frequent mistake: {count:,} of {whole:,} {names[true]} predicted as "
            f"{names[predicted]}."
        )
    return f"No mistake on {len(predictions.paths):,} images."


def _data(found: RunFiles, images: Thumbnails) -> dict[str, Any]:
    near, same = data.near_duplicates(found), data.duplicates(found)
    rows = data.samples(found)
    images.add(path for row in rows for path in row.paths)
    for pair in (*data.shown(near), *data.shown(same)):
        images.add([pair.one, pair.other])
    return {
        "samples": rows,
        "sizes": data.sizes_chart(found.manifest),
        "one_size": data.one_size(found.manifest),
        "near": data.shown(near),
        "num_near": len(near),
        "same": data.shown(same),
        "num_same": len(same),
        "quarantine": found.quarantine[:_QUARANTINE],
        "augmented": [
            (row.path, [images.embed(jpeg) for jpeg in row.jpegs])
            for row in training.augmentation_sheet(found)
        ],
    }


def _training(found: RunFiles, images: Thumbnails) -> dict[str, Any]:  # noqa: ARG001
    ranked = training.best_trials(found.trials)
    return {
        "curves": training.learning_curves(found.history),
        "trials": ranked[: training.TRIALS],
        "trial_curves": training.trial_curves(found),
    }


def write_tables(folder: Path, found: RunFiles) -> None:
    """Everything that the page cuts short, in full."""
    files.write_csv(
        folder / "not_used.csv", ("path", "status", "reason"), data.not_used(found.manifest)
    )
    pairs = [*data.duplicates(found), *data.near_duplicates(found)]
    files.write_csv(folder / "duplicates.csv", data.Pair._fields, pairs)
    _write_rows(folder / "quarantine.csv", ("path", "reason", "rule"), found.quarantine)
    files.write_csv(folder / "sizes.csv", data.SIZE_COLUMNS, data.sizes(found.manifest))
    if found.trials:
        _write_rows(folder / "trials.csv", tuple(found.trials[0]), found.trials)
    if found.predictions is None:
        return
    rows = evaluation.class_rows(found.predictions, found.champion)
    files.write_csv(folder / "classes.csv", evaluation.CLASS_COLUMNS, rows)
    coverage = evaluation.coverage(found.predictions)
    files.write_csv(folder / "coverage.csv", evaluation.COVERAGE_COLUMNS, coverage)
    if found.errors:
        _write_rows(folder / "errors.csv", tuple(found.errors[0]), found.errors)
    if found.record is not None:
        changes = find_changes(found.predictions, found.champion)
        files.write_csv(folder / "changes.csv", Change._fields, changes)
    if found.data_changes:
        _write_rows(folder / "data_changes.csv", tuple(found.data_changes[0]), found.data_changes)


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    files.write_csv(path, columns, ([row[name] for name in columns] for row in rows))
