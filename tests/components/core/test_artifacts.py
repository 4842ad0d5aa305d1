"""The data digest covers the meaning of the manifest, not its encoding."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from components.core.artifacts import (
    MANIFEST_COLUMNS,
    Artifact,
    Evaluation,
    Hyperparameters,
    Latency,
    ModelCard,
    ValidationReport,
    data_digest,
    split_digest,
)
from tests import factories

CARD = Path(__file__).parent / "gate/version_1/card.json"


def manifest() -> pd.DataFrame:
    numbers = ("width", "height", "bytes")
    rows = [
        {name: f"{name}{k}" for name in MANIFEST_COLUMNS}
        | dict.fromkeys(numbers, k)
        | {"status": "used"}
        for k in range(3)
    ]
    return pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))


def test_the_digest_is_the_sha256_of_a_stated_text() -> None:
    text = "manifest v2\n"
    for k in range(3):
        columns = ("path", "label", "split", "group", "sha256", "pixel_sha256")
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


@pytest.mark.parametrize("status", ["ignored", "quarantined"])
def test_what_is_not_used_does_not_count(status: str) -> None:
    other = manifest().iloc[[1]].assign(path="cat/.DS_Store", status=status, sha256="0" * 64)
    assert data_digest(pd.concat([manifest(), other])) == data_digest(manifest())


def test_a_dropped_row_changes_the_digest() -> None:
    assert data_digest(manifest().iloc[:2]) != data_digest(manifest())


def test_the_test_digest_is_the_sha256_of_a_stated_text() -> None:
    rows = manifest()
    text = "split v1\n" + "".join(f"pixel_sha256{k}\0label{k}\n" for k in range(3))
    assert split_digest(rows.iloc[::-1]) == hashlib.sha256(text.encode()).hexdigest()


def test_a_model_card_of_version_1_is_read() -> None:
    raw = json.loads(CARD.read_text())
    card = ModelCard.model_validate_json(CARD.read_bytes())
    assert card.schema_version == 2
    assert card.images.resize_mode == raw["images"]["fit"] == "crop"
    assert card == ModelCard.model_validate(raw)
    rest = {name: value for name, value in raw.items() if name not in ("images", "schema_version")}
    assert rest.items() <= card.model_dump().items()


def test_a_model_card_from_before_the_white_level_is_read_as_it_was_made() -> None:
    card = factories.model_card()
    raw = card.model_dump()
    assert raw["images"].pop("white_level") is None
    assert ModelCard.model_validate(raw) == card
    assert ModelCard.model_validate(json.loads(CARD.read_text())).images.white_level is None
    kept = raw | {"images": raw["images"] | {"white_level": 4_095}}
    assert ModelCard.model_validate(kept).images.white_level == 4_095


@pytest.mark.parametrize("images", [None, 7, [], {}], ids=repr)
def test_a_broken_model_card_of_version_1_is_refused(images: object) -> None:
    with pytest.raises(ValidationError):
        ModelCard.model_validate(json.loads(CARD.read_text()) | {"images": images})


@pytest.mark.parametrize("kind", [ValidationReport, Hyperparameters, Evaluation, Latency])
def test_other_files_of_version_1_are_refused_by_name(kind: type[Artifact]) -> None:
    with pytest.raises(ValidationError, match="schema version 1") as error:
        kind.model_validate({"schema_version": 1})
    assert "dvc repro validate" in str(error.value)


@pytest.mark.parametrize("raw", [{"schema_version": 3}, [], None, "text"], ids=repr)
def test_what_is_of_no_known_version_is_refused(raw: Any) -> None:
    with pytest.raises(ValidationError):
        Evaluation.model_validate(raw)
    with pytest.raises(ValidationError):
        ModelCard.model_validate(raw)


def test_artifacts_are_read_as_they_were_written() -> None:
    for artifact in (factories.evaluation(), factories.model_card(), factories.validation_report()):
        assert type(artifact).model_validate_json(artifact.model_dump_json()) == artifact
