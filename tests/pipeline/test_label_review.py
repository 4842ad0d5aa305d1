"""Suspicious labels found, decided about, applied and brought back."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components import train
from components.core.evaluation import label_issues
from components.io import files, params
from pipeline import apply_review, label_review, quarantine, review_records
from pipeline.cli import main
from tests.components.conftest import Workspace, write_params
from tests.components.train.places import tuned

IMAGES = Path("data/images")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(workspace.root, root)
    (root / "dvc.yaml").write_text("stages: {}\n")
    write_params(root / "params.yaml", {"train.epochs": 1})
    monkeypatch.chdir(root)
    tuned(workspace, train.Paths().hyperparameters.parent, epochs=1)
    return root


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def table(*decisions: tuple[str, str]) -> Path:
    """A table with these paths and decisions."""
    path = review_records.FOLDER / "labels.csv"
    rows = []
    for image, decision in decisions:
        digest = files.digest_file(IMAGES / image) if (IMAGES / image).is_file() else "0" * 64
        label = Path(image).parts[0]
        rows.append([decision, image, label, "", "", "", "train", digest])
    files.write_csv(path, review_records.COLUMNS, rows)
    return path


def test_every_image_is_predicted_once_by_a_network_that_has_not_seen_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[set[bytes], set[bytes]]] = []
    inner = label_review._train

    def note(settings, config, learned, held_out, classes):  # type: ignore[no-untyped-def]
        images = [
            {image.tobytes() for image in part.pixels[slice(None)]} for part in (learned, held_out)
        ]
        trained.append((images[0], images[1]))
        return inner(settings, config, learned, held_out, classes)

    monkeypatch.setattr(label_review, "_train", note)
    code, out, _ = run("review-labels", "--folds", "2")
    assert code == 0
    assert [len(a & b) for a, b in trained] == [0, 0]
    assert sum(len(b) for _, b in trained) == 48
    assert " of 48 images" in out
    listed = list(csv.DictReader((review_records.FOLDER / "labels.csv").open()))
    assert f"{len(listed) or 'no'} suspicious label" in out
    page = (review_records.FOLDER / "labels.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(listed)
    again = run("review-labels", "--folds", "2")[1]
    assert len(trained) == 2  # the folds were kept
    assert again.splitlines()[-4:] == out.splitlines()[-4:]


def test_the_table_lists_the_suspicious_labels_of_all_splits_worst_first(project: Path) -> None:
    settings = params.load(Path("params.yaml"), train.Params)
    everything = label_review.open_all(settings)
    labels = everything.images.labels.copy()
    probabilities = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    wrong = [everything.splits.index(split) for split in ("test", "val", "train")]
    for k, own in zip(wrong, (0.02, 0.04, 0.06), strict=True):
        probabilities[k, labels[k]], probabilities[k, 1 - labels[k]] = own, 1 - own
    found = label_review.write(
        everything, label_issues.find(probabilities, labels), probabilities, 2
    )
    assert (found.suspicious, found.listed, found.images) == (3, 2, 48)
    rows = list(csv.DictReader(found.table.open()))
    assert [row["split"] for row in rows] == ["test", "val"]
    assert [row["path"] for row in rows] == [everything.paths[k] for k in wrong[:2]]
    assert {row["label"] for row in rows} | {row["proposed"] for row in rows} <= {
        "lying",
        "standing",
    }
    assert all(row["label"] != row["proposed"] for row in rows)
    assert [row["p_label"] for row in rows] == ["0.020", "0.040"]
    assert files.digest_file(IMAGES / rows[0]["path"]) == rows[0]["sha256"]


def search(wrong: int, limit: int = 1000) -> label_review.Found:
    """review-labels of a model that finds the first labels of this many images wrong."""
    everything = label_review.open_all(params.load(Path("params.yaml"), train.Params))
    labels = everything.images.labels
    probabilities = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    for k in range(wrong):
        probabilities[k, labels[k]], probabilities[k, 1 - labels[k]] = 0.05, 0.95
    return label_review.write(
        everything, label_issues.find(probabilities, labels), probabilities, limit
    )


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(review_records.TABLE.open()))


def decide(*decisions: str) -> None:
    """Write decisions into the first rows of the table."""
    found = rows()
    for row, decision in zip(found, decisions, strict=False):
        row["decision"] = decision
    lines = ([row[name] for name in review_records.COLUMNS] for row in found)
    files.write_csv(review_records.TABLE, review_records.COLUMNS, lines)


def test_a_second_search_keeps_the_decisions_by_the_bytes_of_the_image(project: Path) -> None:
    search(4)
    decide("drop", "", "keep")
    before = rows()
    shown = search(1, limit=1)  # the third is no longer suspicious
    assert (shown.suspicious, shown.confirmed, shown.listed) == (1, 0, 2)
    assert {row["sha256"]: row["decision"] for row in rows() if row["decision"]} == {
        before[0]["sha256"]: "drop",
        before[2]["sha256"]: "keep",
    }


def test_a_decision_about_a_label_that_the_image_no_longer_has_is_not_kept(project: Path) -> None:
    search(2)
    first = rows()[0]
    decide("drop")
    renamed = [row | {"label": "another", "path": "another/1.png"} for row in rows()]
    lines = ([row[name] for name in review_records.COLUMNS] for row in renamed)
    files.write_csv(review_records.TABLE, review_records.COLUMNS, lines)
    search(2)
    assert rows()[0] == first


def test_labels_that_a_person_confirmed_are_left_out_until_that_is_undone(run: Run) -> None:
    search(3)
    decide("keep", "", "keep")
    kept = {rows()[0]["sha256"], rows()[2]["sha256"]}
    out = run("apply-review", "--dry-run")[1]
    assert "would record 2 confirmed labels" in out
    assert not review_records.JOURNAL.exists()
    assert "done: record 2 confirmed labels" in run("apply-review", "--yes")[1]
    assert "nothing to move" in run("apply-review", "--yes")[1]
    found = search(3)
    assert (found.suspicious, found.confirmed, found.listed) == (1, 2, 1)
    assert not kept & {row["sha256"] for row in rows()}
    page = " ".join(found.page.read_text().split())
    assert "2 more are left out: a person confirmed the label" in page
    assert "take back 2 confirmed labels" in run("apply-review", "--undo", "--yes")[1]
    assert "nothing to move" in run("apply-review", "--undo", "--yes")[1]
    again = search(3)
    assert (again.suspicious, again.confirmed, again.listed) == (3, 0, 3)
    assert kept <= {row["sha256"] for row in rows()}


def test_a_confirmation_counts_for_one_label_and_a_move_is_one_too(run: Run) -> None:
    table(("lying/00.png", "keep"), ("lying/02.png", "move:standing"))
    (IMAGES / "standing/02.png").rename(IMAGES / "standing/other.png")
    digests = {name: files.digest_file(IMAGES / f"lying/{name}.png") for name in ("00", "02")}
    assert run("apply-review", "--yes")[0] == 0
    known = {(digests["00"], "lying"), (digests["02"], "standing")}
    assert review_records.confirmed(["lying", "standing"]) == known
    table(("lying/00.png", "drop"))
    assert run("apply-review", "--yes")[0] == 0
    assert review_records.confirmed(["lying", "standing"]) == {(digests["02"], "standing")}


def test_a_spoiled_table_is_refused_before_anything_is_trained(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(("lying/00.png", "drop"))
    path.write_text(path.read_text().replace(",", ";"))
    spoiled = path.read_bytes()
    monkeypatch.delattr(label_review, "_train")  # whoever trains fails
    assert "lacks the columns decision" in run("review-labels")[2]
    assert path.read_bytes() == spoiled


def test_decisions_move_files_and_undo_brings_them_back(run: Run) -> None:
    before = files.digest_folder(IMAGES)
    table(
        ("lying/00.png", "keep"),
        ("lying/01.png", ""),
        ("lying/02.png", "move:standing"),
        ("lying/03.png", "drop"),
    )
    Path("data/images/standing/02.png").rename("data/images/standing/other.png")
    middle = files.digest_folder(IMAGES)
    code, out, _ = run("apply-review", "--dry-run")
    assert code == 0
    assert "1 kept, 1 without a decision" in out
    assert "would move 2 files" in out
    assert files.digest_folder(IMAGES) == middle
    assert run("apply-review", "--yes")[0] == 0
    assert (IMAGES / "standing/02.png").is_file()
    assert (apply_review.DROPPED / "lying/03.png").is_file()
    assert not (IMAGES / "lying/03.png").exists()
    again = run("apply-review", "--yes")
    assert again[0] == 0
    assert "nothing to move" in again[1]
    assert run("apply-review", "--undo", "--yes")[0] == 0
    assert files.digest_folder(IMAGES) == middle
    assert "nothing to move" in run("apply-review", "--undo", "--yes")[1]
    Path("data/images/standing/other.png").rename("data/images/standing/02.png")
    assert files.digest_folder(IMAGES) == before
    journal = list(csv.DictReader(review_records.JOURNAL.open()))
    done = [row["decision"] for row in journal]
    assert done == ["keep", "move:standing", "drop", "undo", "undo", "undo"]


def test_a_kill_between_two_moves_is_finished_by_the_same_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(("lying/02.png", "drop"), ("lying/03.png", "drop"))
    move = quarantine.move
    moved: list[Path] = []

    def stop(source: Path, target: Path) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(source)
        move(source, target)

    monkeypatch.setattr(quarantine, "move", stop)
    assert run("apply-review", "--yes")[0] == 130
    monkeypatch.setattr(quarantine, "move", move)
    assert run("apply-review", "--yes")[0] == 0
    assert not (IMAGES / "lying/03.png").exists()
    while "nothing to move" not in run("apply-review", "--undo", "--yes")[1]:
        pass
    assert (IMAGES / "lying/02.png").is_file()
    assert (IMAGES / "lying/03.png").is_file()


def test_what_changed_since_or_would_be_overwritten_stays(run: Run) -> None:
    table(("lying/02.png", "move:standing"), ("lying/03.png", "drop"), ("lying/99.png", "drop"))
    (IMAGES / "lying/03.png").write_bytes(b"other")
    before = files.digest_folder(IMAGES)
    code, out, _ = run("apply-review", "--yes")
    assert code == 3
    assert "there is another file at data/images/standing/02.png" in out
    assert "lying/03.png: has changed since" in out
    assert "lying/99.png: is gone" in out
    assert files.digest_folder(IMAGES) == before


@pytest.mark.parametrize("decision", ["move:cat", "move", "Drop it", "delete"])
def test_a_decision_that_is_none_is_refused_with_its_line(run: Run, decision: str) -> None:
    table(("lying/00.png", "keep"), ("lying/02.png", decision))
    code, _, err = run("apply-review", "--yes")
    assert code == 1
    assert f"labels.csv, line 3: the decision is {decision!r}" in err
    assert "lying, standing" in err


def test_a_table_that_a_spreadsheet_spoiled_is_refused(run: Run) -> None:
    path = table(("lying/00.png", "drop"))
    path.write_text(path.read_text().replace(",", ";"))
    assert "lacks the columns decision" in run("apply-review", "--yes")[2]
    path.unlink()
    assert "run `python -m pipeline review-labels`" in run("apply-review", "--yes")[2]


def test_below_a_ready_made_split_a_file_stays_in_its_split(project: Path) -> None:
    target = apply_review._target("t", "train/cat/a/1.png", "move:dog", ["cat", "dog"])
    assert target == IMAGES / "train/dog/a/1.png"
