"""The data digest covers the meaning of the manifest, not its encoding."""

import hashlib

import pandas as pd
import pytest

from components.core.artifacts import MANIFEST_COLUMNS, data_digest


def manifest() -> pd.DataFrame:
    rows = [
        {name: f"{name}{k}" for name in MANIFEST_COLUMNS} | {"width": k, "height": k, "bytes": k}
        for k in range(3)
    ]
    return pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))


def test_the_digest_is_the_sha256_of_a_stated_text() -> None:
    text = "manifest v1\n"
    for k in range(3):
        columns = ("path", "label", "split", "group", "sha256", "pixel_sha256", "status")
        text += "\0".join(f"{name}{k}" for name in columns) + "\n"
    assert data_digest(manifest()) == hashlib.sha256(text.encode()).hexdigest()


def test_row_order_and_column_order_do_not_matter() -> None:
    frame = manifest()
    assert data_digest(frame.iloc[::-1]) == data_digest(frame)
    assert data_digest(frame[frame.columns[::-1]]) == data_digest(frame)


@pytest.mark.parametrize(
    "column", ["path", "label", "split", "group", "sha256", "pixel_sha256", "status"]
)
def test_one_changed_cell_changes_the_digest(column: str) -> None:
    frame = manifest()
    frame.loc[1, column] = "another"
    assert data_digest(frame) != data_digest(manifest())


def test_a_dropped_row_changes_the_digest() -> None:
    assert data_digest(manifest().iloc[:2]) != data_digest(manifest())
