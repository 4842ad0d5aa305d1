"""Pinning writes the splits of the last green validation, once, and nothing else."""

import json
from pathlib import Path

import pandas as pd
import pytest

from components.core.artifacts import MANIFEST_COLUMNS, ValidationReport, data_digest
from components.core.errors import ChangedInput, MissingInput, PipelineError
from components.io import files
from components.io.data import manifest
from components.io.data.split_files import PinnedSplit, read_pinned_splits
from pipeline.pins import pin

HEADER = "pixel_sha256,split,path\n"


def digest(letter: str) -> str:
    return letter * 64


class Place:
    """A manifest with its report, and a ledger."""

    def __init__(self, root: Path) -> None:
        self.manifest, self.report = root / "manifest.parquet", root / "report.json"
        self.ledger = root / "splits.csv"
        self.ledger.write_text(HEADER)

    def write(self, splits: dict[str, str], folder: str = "cat", success: bool = True) -> None:
        rows = [
            dict.fromkeys(MANIFEST_COLUMNS, "")
            | {"path": f"{folder.format(split)}/{letter}.png", "split": split}
            | {"pixel_sha256": digest(letter), "status": "used"}
            for letter, split in splits.items()
        ]
        rows.append(dict.fromkeys(MANIFEST_COLUMNS, "") | {"path": "junk", "status": "ignored"})
        table = pd.DataFrame(rows)
        manifest.write(table, self.manifest)
        counts = dict.fromkeys(("found", "used", "quarantined", "ignored", "duplicates"), 0)
        counts |= dict.fromkeys(("near_duplicates", "groups", "largest_group", "pinned"), 0)
        report = ValidationReport.model_validate(
            {"success": success, "data_digest": data_digest(table), "class_names": ["cat"]}
            | {"counts": {}, "rules": []}
            | counts
        )
        files.write_artifact(self.report, report)

    def pin(self) -> str:
        return pin(self.manifest, self.report, self.ledger)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_used_images_are_pinned_and_the_sentence_says_how_many(place: Place) -> None:
    place.write({"a": "train", "b": "test", "c": "train"})
    assert place.pin() == (
        f"{place.ledger}: 3 images pinned, 3 of them new: train 2, val 0, test 1"
    )
    assert read_pinned_splits(place.ledger) == {
        digest("a"): PinnedSplit("train", "cat/a.png"),
        digest("b"): PinnedSplit("test", "cat/b.png"),
        digest("c"): PinnedSplit("train", "cat/c.png"),
    }


def test_pins_of_images_that_are_gone_stay_and_renamed_ones_are_not_new(place: Place) -> None:
    place.write({"a": "train", "b": "test"})
    place.pin()
    before = place.ledger.read_bytes()
    place.write({"b": "test"}, folder="cat/renamed")
    assert place.pin().endswith("2 images pinned, 0 of them new: train 1, val 0, test 1")
    assert place.ledger.read_bytes() == before
    place.write({"b": "test", "d": "val"})
    assert place.pin().endswith("3 images pinned, 1 of them new: train 1, val 1, test 1")


def test_a_ledger_that_says_otherwise_is_not_overruled(place: Place) -> None:
    place.write({"a": "train"})
    place.ledger.write_text(f"{HEADER}{digest('a')},test,cat/a.png\n")
    before = place.ledger.read_bytes()
    with pytest.raises(ChangedInput, match=r"pins cat/a\.png to test, but .* has it in train"):
        place.pin()
    assert place.ledger.read_bytes() == before


def test_ready_made_splits_are_not_pinned(place: Place) -> None:
    place.write({"a": "train", "b": "test"}, folder="{}/cat")
    with pytest.raises(PipelineError, match="come split into train, val and test"):
        place.pin()


def test_a_red_validation_is_not_pinned(place: Place) -> None:
    place.write({"a": "train"}, success=False)
    with pytest.raises(ChangedInput, match="did not pass"):
        place.pin()


def test_the_report_of_another_manifest_is_refused(place: Place) -> None:
    place.write({"a": "train"})
    report = json.loads(place.report.read_text())
    place.report.write_text(json.dumps(report | {"data_digest": "0" * 64}))
    with pytest.raises(ChangedInput, match="has digest"):
        place.pin()


def test_a_missing_ledger_is_named(place: Place) -> None:
    place.write({"a": "train"})
    place.ledger.unlink()
    with pytest.raises(MissingInput, match=r"splits\.csv: there is no such file"):
        place.pin()
