"""Predictions of a model as a table: written once, read back only if nothing changed."""

from pathlib import Path

import numpy as np
import pytest

from components.core.errors import ChangedInput, MissingInput
from components.core.evaluation.predictions import Predictions
from components.io import files
from components.io.data import predictions as prediction_table

PREDICTIONS = Predictions(
    class_names=["ant", "p:bee"],
    paths=["a/1.png", "a/2.png", "b/3.png"],
    groups=["g1", "g1", "g2"],
    labels=np.array([0, 0, 1]),
    predicted=np.array([0, 1, 1]),
    probabilities=np.array([[0.75, 0.25], [0.5, 0.5], [0.1, 0.9]]),
)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    files.write_bytes(path, prediction_table.to_parquet(PREDICTIONS))

    found = prediction_table.read(path, files.digest_file(path))

    for name, expected in vars(PREDICTIONS).items():
        assert np.array_equal(getattr(found, name), expected), name


def test_equal_predictions_give_equal_bytes() -> None:
    assert prediction_table.to_parquet(PREDICTIONS) == prediction_table.to_parquet(PREDICTIONS)


def test_a_changed_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    files.write_bytes(path, prediction_table.to_parquet(PREDICTIONS))
    with pytest.raises(ChangedInput, match=r"predictions\.parquet: has SHA-256 .* is recorded"):
        prediction_table.read(path, "0" * 64)


@pytest.mark.parametrize("content", [b"", b"PAR1 and no table", b"path,label\n"])
def test_what_is_not_a_table_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(content)
    with pytest.raises(ChangedInput, match="is not a table of predictions") as caught:
        prediction_table.read(path, files.digest_file(path))
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"predictions\.parquet"):
        prediction_table.read(tmp_path / "predictions.parquet", "0" * 64)
