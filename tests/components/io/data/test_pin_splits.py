"""Pinning writes the splits of the last passing validation, once, and nothing else."""

import json
from pathlib import Path

import pandas as pd
import pytest

from components.core.artifacts import MANIFEST_COLUMNS, data_digest
from components.core.errors import ChangedInput, MissingInput, PipelineError
from components.io import files
from components.io.data import manifest
from components.io.data.split_files import PinnedSplit, pin_splits, read_pinned_splits
from tests import factories

HEADER = "pixel_sha256,split,path\n"


def digest(letter: str) -> str:
    return letter * 64


class Workspace:
    """A manifest with its report, and a table of pinned splits."""

    def __init__(self, root: Path) -> None:
        self.manifest, self.report = root / "manifest.parquet", root / "report.json"
        self.pinned_splits = root / "splits.csv"
        self.pinned_splits.write_text(HEADER)

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
        report = factories.validation_report(
            success=success, data_digest=data_digest(table), class_names=["cat"]
        )
        files.write_artifact(self.report, report)

    def pin(self) -> str:
        return pin_splits(self.manifest, self.report, self.pinned_splits)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_used_images_are_pinned_and_the_sentence_says_how_many(workspace: Workspace) -> None:
    workspace.write({"a": "train", "b": "test", "c": "train"})
    assert workspace.pin() == (
        f"{workspace.pinned_splits}: 3 images pinned, 3 of them new: train 2, val 0, test 1"
    )
    assert read_pinned_splits(workspace.pinned_splits) == {
        digest("a"): PinnedSplit("train", "cat/a.png"),
        digest("b"): PinnedSplit("test", "cat/b.png"),
        digest("c"): PinnedSplit("train", "cat/c.png"),
    }


def test_pins_of_images_that_are_gone_stay_and_renamed_ones_are_not_new(
    workspace: Workspace,
) -> None:
    workspace.write({"a": "train", "b": "test"})
    workspace.pin()
    before = workspace.pinned_splits.read_bytes()
    workspace.write({"b": "test"}, folder="cat/renamed")
    assert workspace.pin().endswith("2 images pinned, 0 of them new: train 1, val 0, test 1")
    assert workspace.pinned_splits.read_bytes() == before
    workspace.write({"b": "test", "d": "val"})
    assert workspace.pin().endswith("3 images pinned, 1 of them new: train 1, val 1, test 1")


def test_a_table_that_says_otherwise_is_not_overruled(workspace: Workspace) -> None:
    workspace.write({"a": "train"})
    workspace.pinned_splits.write_text(f"{HEADER}{digest('a')},test,cat/a.png\n")
    before = workspace.pinned_splits.read_bytes()
    with pytest.raises(ChangedInput, match=r"pins cat/a\.png to test, but .* has it in train"):
        workspace.pin()
    assert workspace.pinned_splits.read_bytes() == before


@pytest.mark.parametrize("folder", ["{}/cat", "My_{}_set/cat"])
def test_predefined_splits_are_not_pinned(workspace: Workspace, folder: str) -> None:
    workspace.write({"a": "train", "b": "test", "c": "val"}, folder=folder)
    with pytest.raises(PipelineError, match="have a predefined split"):
        workspace.pin()


def test_a_failed_validation_is_not_pinned(workspace: Workspace) -> None:
    workspace.write({"a": "train"}, success=False)
    with pytest.raises(ChangedInput, match="did not pass"):
        workspace.pin()


def test_the_report_of_another_manifest_is_refused(workspace: Workspace) -> None:
    workspace.write({"a": "train"})
    report = json.loads(workspace.report.read_text())
    workspace.report.write_text(json.dumps(report | {"data_digest": "0" * 64}))
    with pytest.raises(ChangedInput, match="has data digest"):
        workspace.pin()


def test_a_missing_table_is_named(workspace: Workspace) -> None:
    workspace.write({"a": "train"})
    workspace.pinned_splits.unlink()
    with pytest.raises(MissingInput, match=r"splits\.csv: does not exist"):
        workspace.pin()
