"""The page of a run: what it says of planted results, how large it is, and the tables beside it."""

import csv
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.core.artifacts import MANIFEST_COLUMNS
from components.io.costs import Cost
from components.io.reports.charts import Chart, Line, ticks
from components.io.reports.run import data, evaluation, training
from components.io.reports.run.files import RunFiles, usual_paths
from components.io.reports.run.page import run_page, write_page, write_tables
from components.io.reports.run.thumbnails import BUDGET, Thumbnails
from tests import factories
from tests.components.io.reports.conftest import run_files

PARAMS = factories.image_params(formats=["PNG"], max_pixels=100_000)
NASTY = "<script>alert('1')</script>{{ 7 * 7 }}"


def many(classes: int, images: int, folder: Path) -> RunFiles:
    """A run whose test images are all noise, which JPEG cannot make small; every third is wrong."""
    names = [f"class {k:04} with a long name" for k in range(classes)]
    pool = [folder / f"{k}.png" for k in range(8)]
    rng = np.random.default_rng(0)
    for path in pool:
        Image.fromarray(rng.integers(0, 255, (96, 96, 3), np.uint8)).save(path)
    labels = rng.integers(0, classes, images)
    wrong = np.arange(images) % 3 == 0
    predicted = np.where(wrong, (labels + rng.integers(1, 3, images)) % classes, labels)
    found = factories.predictions(labels.tolist(), predicted.tolist(), class_names=names)
    found.paths[:] = [pool[k % 8].name if k < 8 else f"{k:06}.png" for k in range(images)]
    rows = dict.fromkeys(MANIFEST_COLUMNS, "") | {"status": "used", "width": 96, "height": 96}
    manifest = pd.DataFrame([rows] * images).assign(
        path=found.paths, label=[names[k] for k in labels], split="train"
    )
    errors = [
        {
            "path": found.paths[k], "true": names[labels[k]], "predicted": names[predicted[k]],
            "probability": "0.9", "second": names[labels[k]], "second_probability": "0.1",
            "loss": "2.3",
        }
        for k in np.flatnonzero(wrong)
    ]  # fmt: skip
    report = factories.validation_report(class_names=names, found=images, used=images)
    return run_files(
        images=folder,
        report=report,
        manifest=manifest,
        evaluation=factories.evaluation(found),
        predictions=found,
        champion=found,
        errors=errors,
        heat_maps={row["path"]: pool[0].read_bytes() for row in errors[:24]},
    )


def linked(folder: Path, count: int) -> None:
    for k in range(8, count):
        (folder / f"{k:06}.png").hardlink_to(folder / f"{k % 8}.png")


def test_a_page_of_many_classes_and_images_stays_below_5_mb(tmp_path: Path) -> None:
    found = many(1_000, 4_000, tmp_path)
    linked(tmp_path, 4_000)
    html = run_page(found, PARAMS, {})
    assert 3_000_000 < len(html) < 5_000_000
    assert "Shown are the 20 most confused of 1,000 classes." in html
    assert "25 of 1,000 are shown; all are in" in html
    write_tables(tmp_path, found)
    with (tmp_path / "classes.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1_000
    with (tmp_path / "errors.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(found.errors) == 1_334


def test_every_cell_of_the_matrix_opens_its_own_images() -> None:
    found = factories.predictions_of([[9, 2], [3, 6]], ["cat", "dog"])
    matrix = evaluation.matrix(found)
    counts = [[cell.images for cell in row] for _, row in matrix.rows]
    assert counts == [[9, 2], [3, 6]]
    html = run_page(
        run_files(predictions=found, evaluation=factories.evaluation(found)), PARAMS, {}
    )
    targets = set(re.findall(r'<section class="cell" id="(.+?)" popover>', html))
    assert (
        set(re.findall(r'<td class="\w+"><button type="button" popovertarget="(.+?)"', html))
        == targets
    )
    assert len(targets) == 4
    section = html.partition('id="cell-1-0"')[2].partition("</section>")[0]
    assert "<bdi>dog</bdi> predicted as <bdi>cat</bdi>: 3 images, 33% of the class" in section
    shown = re.findall(r'<span class="code soft">(.+?)</span>', section)
    rows = np.flatnonzero((found.labels == 1) & (found.predicted == 0))
    assert shown == [found.paths[row] for row in rows]


def test_of_many_classes_the_rest_is_one_column() -> None:
    confusion = np.eye(40, dtype=int) * 5
    confusion[7, 30] = 4
    matrix = evaluation.matrix(factories.predictions_of(confusion.tolist()))
    assert len(matrix.rows) == 20
    assert matrix.columns[-1] == "(any other)"
    assert sum(cell.images for _, row in matrix.rows for cell in row) == 20 * 5 + 4


def test_classes_stand_beside_the_champions_the_weakest_first() -> None:
    found = factories.predictions_of([[9, 1], [6, 4]], ["cat", "dog"])
    champion = factories.predictions_of([[8, 2], [1, 9]], ["cat", "dog"])
    dog, cat = evaluation.class_rows(found, champion)
    assert (dog.name, dog.recall, dog.champion, dog.images) == ("dog", 0.4, 0.9, 10)
    assert (cat.name, cat.champion) == ("cat", 0.8)
    assert dog.low < 0.4 < dog.high
    assert 'aria-label="recall 0.40' in dog.bar.__html__()


def test_nothing_but_validated_data_still_has_a_page() -> None:
    html = run_page(run_files(), PARAMS, {"git": NASTY})
    assert "Not evaluated yet" in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'id="tuning"' not in html


def test_names_are_text_wherever_they_stand() -> None:
    found = factories.predictions_of([[2, 1], [1, 2]], ["cat", NASTY])
    files = run_files(
        report=factories.validation_report(class_names=["cat", NASTY]),
        predictions=found,
        evaluation=factories.evaluation(found),
    )
    html = run_page(files, PARAMS, {})
    assert "<script" not in html
    assert not re.search(r"https?:|url\(|@import", html)


def test_costs_are_summed() -> None:
    costs = {
        step: Cost(seconds=60.0, processor_seconds=90.5, peak_mib=mib)
        for step, mib in (("validate", 200), ("train", 1_800))
    }
    text = " ".join(re.sub(r"<[^>]+>", " ", run_page(run_files(costs=costs), PARAMS, {})).split())
    assert "validate 60.0 90.5 200 train 60.0 90.5 1,800 all 120.0 181.0 1,800" in text


def trial(number: int, state: str, loss: str) -> dict[str, str]:
    names = ("worker", "learning_rate", "epochs", "horizontal_flip", "reason")
    return dict.fromkeys(names, "1") | {"trial": str(number), "state": state, "val_loss": loss}


def test_trials_are_drawn_along_their_own_schedule_the_best_one_named() -> None:
    tuned = {"tuned": None, "trials": [trial(0, "pruned", ""), trial(1, "complete", "0.4")]}
    curves = [
        {"trial": "0", "percent": "75.0", "val_loss": "0.9"},
        {"trial": "1", "percent": "100.0", "val_loss": "0.4"},
    ]
    chart = training.trial_curves(run_files(curves=curves, **tuned))
    assert chart is not None
    assert chart.title == "Trial 1 ended lowest; 1 of 2 trials were stopped early (dashed)."
    assert chart.x_range == (0, 100)


HISTORY = [
    {"epoch": "1", "train_loss": "0.9", "val_loss": "0.7", "val_accuracy": "0.5",
     "learning_rate": "0.01", "best": "1.0"},
    {"epoch": "2", "train_loss": "0.5", "val_loss": "0.8", "val_accuracy": "0.4",
     "learning_rate": "0.001", "best": "0.0"},
]  # fmt: skip


def test_the_epoch_that_was_kept_is_marked() -> None:
    loss, accuracy, rate = training.learning_curves(HISTORY)
    assert loss.marks == {1.0: "kept: epoch 1"}
    assert loss.title == "Lowest val loss: 0.700 after epoch 1 of 2."
    assert "0.500" in accuracy.title
    assert "0.01" in rate.title


def test_augmentation_is_shown_as_the_model_saw_it(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "a.png")
    card = factories.model_card(
        settings={"augmentation": "none", "horizontal_flip": False, "rotate_90": False},
        images=PARAMS,
    )
    manifest = pd.DataFrame({"path": ["a.png", "gone.png"], "split": "train"})
    (row,) = training.augmentation_sheet(run_files(images=tmp_path, manifest=manifest, card=card))
    assert row.path == "a.png"
    assert len(row.jpegs) == 7
    assert len(set(row.jpegs)) == 1, "nothing is augmented, so all are the image itself"
    heavy = card.model_copy(update={"settings": {"augmentation": "heavy"}})
    (row,) = training.augmentation_sheet(run_files(images=tmp_path, manifest=manifest, card=heavy))
    assert len(set(row.jpegs)) > 3


def test_pairs_are_two_images_the_least_similar_first() -> None:
    pairs = [
        {"group": "g", "path": p, "label": "a", "other_path": q, "other_label": label,
         "similarity": s}
        for p, q, label, s in (("1", "2", "a", "0.900"), ("3", "4", "b", "0.700"))
    ]  # fmt: skip
    first, second = data.near_duplicates(run_files(near_duplicates=pairs))
    assert (first.one, first.other) == ("3", "4")
    assert first.words == "similarity 0.70; labels a and b"
    assert second.words == "similarity 0.90"
    rows = {"path": ["b", "a"], "reason": ["same bytes as a", ""], "status": ["ignored", "used"]}
    files = run_files(manifest=pd.DataFrame(rows))
    assert data.duplicates(files) == [data.Pair("a", "b", "same bytes")]
    assert data.not_used(files.manifest) == [("b", "ignored", "same bytes as a")]


def test_what_is_beyond_the_budget_is_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    images = Thumbnails(tmp_path, PARAMS, 32)
    assert images.embed(b"x" * BUDGET)
    images.add(["a.png"])
    assert images.uris == {}
    assert images.embed(b"x") == ""


def test_without_validated_data_there_is_no_page(tmp_path: Path) -> None:
    assert write_page(usual_paths(tmp_path), PARAMS) is None
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("low", "high", "whole", "found"),
    [
        (0.0, 1.0, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1.0, 3.0, True, [1, 2, 3]),
        (0.0, 100.0, False, [0, 20, 40, 60, 80, 100]),
        (0.00012, 0.00031, False, [0.00015, 0.0002, 0.00025, 0.0003]),
    ],
)
def test_ticks_are_round_values(low: float, high: float, whole: bool, found: list[float]) -> None:
    assert ticks(low, high, whole=whole) == pytest.approx(found)


def test_a_chart_of_one_point_and_of_equal_values_is_drawn() -> None:
    def drawn(points: Any) -> str:
        chart = Chart(title=NASTY, lines=[Line("a", points)], x_label="x", y_label="y")
        return chart.__html__()

    assert "<circle" in drawn([(1.0, 2.0)])
    assert 'class="line one solid"' in drawn([(0.0, 2.0), (1.0, 2.0)])
    assert "<script" not in drawn([(0.0, 0.0)])


def test_a_thumbnail_is_a_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    images = Thumbnails(tmp_path, PARAMS, 32)
    images.add(["a.png", "a.png", "gone.png"])
    import base64

    (uri,) = images.uris.values()
    raw = base64.b64decode(uri.partition(",")[2])
    assert Image.open(BytesIO(raw)).size == (32, 32)
