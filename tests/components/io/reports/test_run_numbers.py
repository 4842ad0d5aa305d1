"""Numbers of the run page: tables of its charts, and what the champion's rest on."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest

from components.core.artifacts import MANIFEST_COLUMNS
from components.core.evaluation.predictions import Predictions
from components.io.reports.run import evaluation
from components.io.reports.run.page import run_page, write_tables
from tests import factories
from tests.components.io.reports.conftest import run_files

PARAMS = factories.image_params(formats=["PNG"])


def test_the_numbers_of_the_charts_are_in_tables_that_are_linked(tmp_path: Path) -> None:
    found = factories.predictions_of([[9, 2], [3, 6]], ["cat", "dog"])
    rows = dict.fromkeys(MANIFEST_COLUMNS, "") | {"status": "used", "height": 30}
    widths = [40, 20, 40, 99]
    manifest = pd.DataFrame([rows | {"width": width} for width in widths])
    manifest.loc[3, "status"] = "ignored"
    files = run_files(predictions=found, evaluation=factories.evaluation(found), manifest=manifest)
    write_tables(tmp_path, files)
    assert (tmp_path / "sizes.csv").read_text() == "width,height,images\n40,30,2\n20,30,1\n"
    with (tmp_path / "coverage.csv").open(newline="") as file:
        coverage = list(csv.DictReader(file))
    assert len(coverage) == 20
    assert list(coverage[0]) == ["confidence", "share", "accuracy"]
    assert {name: float(value) for name, value in coverage[-1].items()} == pytest.approx(
        {"confidence": found.probabilities.max(axis=1).min(), "share": 1.0, "accuracy": 0.75}
    )
    html = run_page(files, PARAMS, {})
    links = re.findall(r'href="([^"#]+)"', html)
    assert {"sizes.csv", "coverage.csv"} <= set(links)
    assert [link for link in links if not (tmp_path / link).is_file()] == []


def test_a_champion_that_was_judged_on_fewer_images_has_its_own_number_and_a_sentence() -> None:
    found = factories.predictions_of([[9, 1, 0], [6, 4, 0], [2, 1, 0]], ["cat", "dog", "eel"])
    seen = factories.predictions_of([[8, 2, 0], [1, 6, 0], [0, 0, 0]], ["cat", "dog", "eel"])
    rows = {row.name: row for row in evaluation.class_rows(found, seen)}
    assert {name: row.champion_images for name, row in rows.items()} == {
        "cat": 10,
        "dog": 7,
        "eel": 0,
    }

    def text(champion: Predictions) -> str:
        files = run_files(
            predictions=found, evaluation=factories.evaluation(found), champion=champion
        )
        return " ".join(re.sub(r"<[^>]+>", " ", run_page(files, PARAMS, {})).split())

    assert "rests on fewer images" not in text(found)
    assert "0.857 n 7" in text(seen)
    assert "0.800 n" not in text(seen)
    assert "rests on fewer images where its own n stands beside it" in text(seen)
