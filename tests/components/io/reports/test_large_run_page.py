"""A run of 100,000 images and 1,000 classes: its page stays small, its tables have everything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.io.reports.run.files import RunFiles
from components.io.reports.run.page import run_page, write_tables
from tests import factories
from tests.components.io.reports.test_run_page import PARAMS, linked, many

CLASSES, IMAGES, TESTED = 1_000, 100_000, 15_000
NEAR, DUPLICATES, UNREADABLE, CHANGED = 20_000, 5_000, 3_000, 40_000


def large(folder: Path) -> RunFiles:
    """Every list of the page is long; a third of the test images are wrong, others than before."""
    tested = many(CLASSES, TESTED, folder)
    linked(folder, TESTED)
    assert tested.predictions is not None
    used = pd.concat([tested.manifest] * (IMAGES // TESTED + 1), ignore_index=True)[:IMAGES]
    dropped = used[:DUPLICATES].assign(
        status="ignored", split="", reason="same bytes as " + used["path"][-DUPLICATES:].to_numpy()
    )  # fmt: skip
    paths, labels = used["path"].tolist(), used["label"].tolist()
    theirs = (tested.predictions.predicted + (np.arange(TESTED) % 4 == 0)) % CLASSES
    names = tested.report.class_names
    champion = factories.predictions(
        tested.predictions.labels.tolist(), theirs.tolist(), class_names=names
    )
    diff = factories.data_diff(baseline="b" * 64, relabeled=CHANGED, added=CHANGED)
    return replace(
        tested,
        manifest=pd.concat([used, dropped], ignore_index=True),
        champion=replace(champion, paths=tested.predictions.paths),
        record=factories.decision_record(
            "blocked",
            evidence=factories.evidence(
                class_names=names, champion=factories.champion_evidence("compared")
            ),
            data_diff=diff,
        ),
        near_duplicates=[
            {"group": "g", "path": paths[k], "label": labels[k], "other_path": paths[-k - 1],
             "other_label": labels[-k - 1], "similarity": "0.9"}
            for k in range(NEAR)
        ],
        quarantine=[
            {"path": f"{k}.png", "reason": "truncated", "rule": "decodable"}
            for k in range(UNREADABLE)
        ],
        data_changes=[
            {"kind": kind, "path": paths[k], "label_before": names[0], "label": labels[k],
             "split_before": "train", "split": "train"}
            for kind in ("relabeled", "added") for k in range(CHANGED)
        ],
    )  # fmt: skip


@pytest.mark.slow
def test_the_page_stays_below_5_mb_and_its_tables_have_every_row(tmp_path: Path) -> None:
    found = large(tmp_path)
    assert len(run_page(found, PARAMS, {}).encode()) < 5_000_000
    tables = tmp_path / "tables"
    tables.mkdir()
    write_tables(tables, found)
    rows = {path.name: len(path.read_text().splitlines()) - 1 for path in tables.iterdir()}
    assert rows["classes.csv"] == CLASSES
    assert rows["duplicates.csv"] == DUPLICATES + NEAR
    assert rows["quarantine.csv"] == UNREADABLE
    assert rows["not_used.csv"] == DUPLICATES
    assert rows["data_changes.csv"] == 2 * CHANGED
    assert rows["errors.csv"] == TESTED // 3
    assert rows["changes.csv"] > 1_000
