"""Writes the pages that the browser looks at: runs of 2, 22 and 300 classes, and of nothing yet.

python -m tests.browser.pages FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from components.core.artifacts import MANIFEST_COLUMNS, RuleResult
from components.core.data.decoding import ImageParams
from components.io import files
from components.io.costs import Cost
from components.io.reports.pages import thumbnails
from components.io.reports.run.files import RunFiles
from components.io.reports.run.page import PAGE, run_page, write_tables
from components.io.reports.validation import ClassSamples, GroupStrip, Problem, validation_page
from pipeline import label_review, review_records
from pipeline.kubeflow import run_pages
from tests import factories

PARAMS = factories.image_params(formats=["PNG"])
LONG = "Convolvulus_arvensis_subspecies_with_a_name_that_does_not_end_"
REASON = (
    "label conflict: the same pixels as another file of another class, whose name goes on and on"
)


def main(target: Path) -> None:
    """Write each page into a folder of its own, with its tables."""
    for title, classes, images in (("two", 2, 120), ("many", 22, 330), ("hundreds", 300, 900)):
        found = planted(target / title / "images", classes, images)
        if title == "two":
            found = replace(found, heat_maps=heat_maps(found))
        write(target / title, found, PARAMS)
        write_validation(target / title / "passed", found, success=True)
        write_validation(target / title / "failed", found, success=False)
        write_labels(target / title / "review", found, 150)
        if title == "two":
            write(target / "undecided", replace(found, record=None, champion=None), PARAMS)
            bare = replace(found, evaluation=None, predictions=None, record=None, champion=None)
            write(target / "validated", replace(bare, card=None, history=[], trials=[]), PARAMS)
            write_labels(target / "no labels", found, 0)
            write_step(target / "kubeflow")


def write(folder: Path, found: RunFiles, params: ImageParams) -> None:
    """The page and its tables."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(folder, found)
    lineage = {"git": "0" * 40, "MLflow run": "`make ui`, then http://127.0.0.1:5000/#/runs"}
    (folder / PAGE).write_text(run_page(found, params, lineage), encoding="utf-8")


def write_validation(folder: Path, found: RunFiles, *, success: bool) -> None:
    """The page of validate: groups of near duplicates, and problems if it failed."""
    names, paths = found.report.class_names, found.manifest["path"].tolist()
    bad = [] if success else [Problem(f"bad/{k}.png", REASON, "decodable") for k in range(230)]
    bad += [] if success else [Problem(paths[0], REASON, "label_conflicts")]
    strip = GroupStrip({names[0]: 20, names[-1]: 9}, [(path, names[0]) for path in paths[:12]])
    report = found.report.model_copy(
        update={
            "success": success,
            "rules": [
                _rule("aspect_ratio", "warning", success=False),
                _rule("decodable", "critical", success=success),
            ],
        }
    )  # fmt: skip
    jpegs = thumbnails(found.images, paths[:12], PARAMS, side=96)
    samples = [ClassSamples(name, 30, paths[4 * k : 4 * k + 4]) for k, name in enumerate(names[:3])]
    page = validation_page(
        report, bad, [strip, strip] if success else [], jpegs, samples if success else []
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(page, encoding="utf-8")
    for table in ("quarantine.csv", "near_duplicates.csv"):
        (folder / table).touch()


def _rule(name: str, severity: str, *, success: bool) -> RuleResult:
    seen = "none" if success else "231 of 1,240 files; bad/0.png: " + REASON
    values = {"rule": name, "severity": severity, "success": success, "observed": seen}
    return RuleResult.model_validate(values | {"expected": "none", "files": []})


def write_labels(folder: Path, found: RunFiles, listed: int) -> None:
    """The page of review-labels, and its table."""
    names = found.report.class_names
    used = found.manifest[found.manifest["status"] == "used"]
    table = [
        {"decision": "", "path": path, "label": label, "proposed": names[k % len(names)],
         "p_label": "0.021", "p_proposed": "0.954", "split": "train", "sha256": "0" * 64}
        for k, (path, label) in enumerate(zip(used["path"], used["label"], strict=True))
    ][:listed]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    page = label_review.labels_page(table, len(used), found.images, PARAMS)
    (folder / "labels.html").write_text(page, encoding="utf-8")
    rows = ([row[name] for name in review_records.COLUMNS] for row in table)
    files.write_csv(folder / review_records.TABLE.name, review_records.COLUMNS, rows)


def write_step(folder: Path) -> None:
    """What Kubeflow shows of tune: the step has no page of its own."""
    ran = folder / "tune"
    files.write_artifact(ran / "hyperparameters.json", TUNED)
    plot = ran / "plots/trials.png"
    plot.parent.mkdir()
    Image.new("RGB", (900, 500), "white").save(plot)
    page = str(folder / "step.html")
    run_pages.write_page("tune", ran, _NoMetrics(), str(folder / "summary.md"), page)


class _NoMetrics:
    def log_metric(self, metric: str, value: float) -> None:
        """Nobody asks for it here."""


def heat_maps(found: RunFiles) -> dict[str, bytes]:
    """One for each of the mistakes that the page shows: here the image itself."""
    paths = [row["path"] for row in found.errors[:24]]
    return thumbnails(found.images, paths, PARAMS, side=96)


def planted(folder: Path, classes: int, images: int) -> RunFiles:
    """A run in which a fifth of the test images is wrong, and a tenth was so for the champion."""
    rng = np.random.default_rng(classes)
    names = [f"{LONG}{k:03}" if k % 5 == 1 else f"class {k:03}" for k in range(classes)]
    labels = np.sort(rng.integers(0, classes, images))
    manifest = _manifest(folder, names, labels, rng)
    wrong, theirs = rng.random(images) < 0.2, rng.random(images) < 0.1
    guesses = [np.where(w, (labels + 1) % classes, labels).tolist() for w in (wrong, theirs)]
    model, champion = (
        replace(factories.predictions(labels.tolist(), g, class_names=names), paths=paths)
        for g, paths in zip(guesses, [manifest["path"].tolist()[:images]] * 2, strict=True)
    )
    record = factories.decision_record(
        "blocked",
        evidence=factories.evidence(
            class_names=names, champion=factories.champion_evidence("compared", seen_test_images=3)
        ),
        outcome=factories.outcome("blocked", checks=[factories.check("accuracy", "fail")]),
        data_diff=factories.data_diff(baseline="b" * 64, unchanged=9, relabeled=4, largest_shift={
            "name": names[-1], "before": 0.2, "now": 0.3}),
    )  # fmt: skip
    return RunFiles(
        images=folder,
        report=factories.validation_report(class_names=names, found=images + 9, used=images),
        manifest=manifest,
        quarantine=[
            {"path": f"bad/{k}.png", "reason": "truncated", "rule": "r"} for k in range(30)
        ],
        near_duplicates=_pairs(manifest),
        tuned=TUNED,
        trials=TRIALS,
        curves=[
            {"trial": str(t), "percent": str(p), "val_loss": str(2 - t / 30 - p / 100)}
            for t in range(20) for p in (25.0, 50.0, 75.0, 100.0)
        ],
        importance=[{"setting": "learning_rate", "share": "0.8"}],
        card=CARD,
        history=HISTORY,
        evaluation=factories.evaluation(model),
        predictions=model,
        errors=_errors(model.paths, names, labels, guesses[0], wrong),
        heat_maps={},
        reliability=[{"confidence": str(c), "accuracy": str(c - 0.1)} for c in (0.5, 0.7, 0.9)],
        record=record,
        champion=champion,
        data_changes=[
            {"kind": "relabeled", "path": path, "label_before": names[0], "label": names[-1],
             "split_before": "train", "split": "train"}
            for path in model.paths[:4]
        ],
        costs={"train": Cost(seconds=61.0, processor_seconds=100.0, peak_mib=1_800)},
    )  # fmt: skip


def _manifest(
    folder: Path, names: list[str], labels: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k, label in enumerate(labels.tolist()):
        width = int(rng.integers(24, 40))
        pixels = rng.integers(0, 256, (32, width, 3), np.uint8) // 2 + 5 * (label % 20)
        path = f"{names[label]}/{k:04}.png"
        (folder / path).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / path)
        rows.append({"path": path, "label": names[label], "width": width, "height": 32})
    copy = {"path": "copy.png", "status": "ignored", "reason": f"same bytes as {rows[0]['path']}"}
    used = [dict.fromkeys(MANIFEST_COLUMNS, "") | row | {"status": "used"} for row in rows]
    frame = pd.DataFrame([*used, dict.fromkeys(MANIFEST_COLUMNS, "") | copy])
    frame.loc[frame["status"] == "used", "split"] = "train"
    return frame.astype({"width": object, "height": object})


def _pairs(manifest: pd.DataFrame) -> list[dict[str, str]]:
    paths = manifest["path"].tolist()
    return [
        {"group": "g", "path": paths[k], "label": "a", "other_path": paths[k + 1],
         "other_label": "b", "similarity": f"0.{70 + k}"}
        for k in range(9)
    ]  # fmt: skip


def _errors(
    paths: list[str], names: list[str], labels: np.ndarray, guesses: list[int], wrong: np.ndarray
) -> list[dict[str, str]]:
    return [
        {"path": paths[k], "true": names[labels[k]], "predicted": names[guesses[k]],
         "probability": "0.9", "second": names[labels[k]], "second_probability": "0.1",
         "loss": "2.3"}
        for k in np.flatnonzero(wrong).tolist()
    ]  # fmt: skip


SETTINGS = {
    "learning_rate": 1e-3, "epochs": 6, "batch_size": 16, "augmentation": "heavy",
    "horizontal_flip": True, "rotate_90": False, "label_smoothing": 0.1, "image_size": 32,
}  # fmt: skip
CARD = factories.model_card(settings=SETTINGS, images=PARAMS)
HISTORY = [
    {"epoch": str(k), "train_loss": str(2 / k), "val_loss": str(1.5 / k + 0.4),
     "val_accuracy": str(0.5 + k / 15), "learning_rate": str(1e-3 / k), "best": "1.0"}
    for k in range(1, 7)
]  # fmt: skip
TRIALS = [
    {"trial": str(k), "worker": "0", "state": "complete" if k % 3 else "pruned",
     "learning_rate": str(1e-3 / (k + 1)), "epochs": "5", "horizontal_flip": "true",
     "val_loss": str(1 - k / 30), "reason": "" if k % 3 else "worse than the median"}
    for k in range(20)
]  # fmt: skip
TUNED = factories.hyperparameters(trials_complete=13, trials_pruned=7)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
