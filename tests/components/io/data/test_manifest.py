"""Later steps get the rows they may see, and only of a manifest that passed unchanged."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from components.core.artifacts import MANIFEST_COLUMNS, data_digest
from components.core.errors import ChangedInput, MissingInput
from components.io import files
from components.io.data import manifest
from tests import factories


def frame() -> pd.DataFrame:
    texts = ["a/1.png", "a/2.png", "b/3.png", "b/4.png", "junk"]
    rows = [dict.fromkeys(MANIFEST_COLUMNS, "") | {"path": text} for text in texts]
    table = pd.DataFrame(rows).assign(width=8, height=8, bytes=100)
    table["status"] = ["used", "used", "used", "used", "quarantined"]
    table["split"] = ["train", "val", "test", "train", ""]
    return table


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def store(table: pd.DataFrame, digest: str = "", success: bool = True) -> tuple[Path, Path]:
        report = factories.validation_report(
            success=success, data_digest=digest or data_digest(table)
        )
        files.write_artifact(tmp_path / "report.json", report)
        manifest.write(table, tmp_path / "manifest.parquet")
        return tmp_path / "manifest.parquet", tmp_path / "report.json"

    return store


def test_what_is_written_is_read_back(stored: Callable[..., tuple[Path, Path]]) -> None:
    everything = manifest.read(*stored(frame()), ("train", "val", "test"))
    pd.testing.assert_frame_equal(everything, frame().iloc[:4])


def test_only_used_rows_of_the_given_splits_are_read(
    stored: Callable[..., tuple[Path, Path]],
) -> None:
    rows = manifest.read(*stored(frame()), ("train", "val"))
    assert rows["path"].tolist() == ["a/1.png", "a/2.png", "b/4.png"]
    assert list(rows.columns) == list(MANIFEST_COLUMNS)


def test_a_data_set_that_did_not_pass_is_refused(
    stored: Callable[..., tuple[Path, Path]],
) -> None:
    with pytest.raises(
        ChangedInput, match="did not pass validation; fix them, then run `dvc repro validate`"
    ):
        manifest.read(*stored(frame(), success=False), ("train",))


@pytest.mark.row("D43")
def test_the_report_of_another_manifest_is_refused(
    stored: Callable[..., tuple[Path, Path]],
) -> None:
    with pytest.raises(ChangedInput, match=r"has data digest [0-9a-f]{12}, but .* is about ffff"):
        manifest.read(*stored(frame(), digest="f" * 64), ("train",))


def test_a_report_of_schema_version_1_is_refused_with_the_step_to_run(
    stored: Callable[..., tuple[Path, Path]],
) -> None:
    path, report = stored(frame())
    report.write_text(report.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(ChangedInput, match=r"schema version 1, but 2 .* `dvc repro validate`"):
        manifest.read(path, report, ("train",))


def test_a_missing_column_is_named(stored: Callable[..., tuple[Path, Path]]) -> None:
    with pytest.raises(ChangedInput, match="has no column phash"):
        manifest.read(*stored(frame().drop(columns="phash")), ("train",))


def test_a_damaged_file_is_refused(stored: Callable[..., tuple[Path, Path]]) -> None:
    path, report = stored(frame())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ChangedInput, match="cannot be read as parquet"):
        manifest.read(path, report, ("train",))


def test_missing_files_are_named(stored: Callable[..., tuple[Path, Path]]) -> None:
    path, report = stored(frame())
    path.unlink()
    with pytest.raises(MissingInput, match=r"manifest\.parquet"):
        manifest.read(path, report, ("train",))
    report.unlink()
    with pytest.raises(MissingInput, match=r"report\.json"):
        manifest.read(path, report, ("train",))
