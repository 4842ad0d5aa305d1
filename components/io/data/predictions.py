"""Predictions for the test images: made in one way, kept in one form of table.

evaluate runs the new model, register the champion: the same code, the same images.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.artifacts import PREDICTION_COLUMNS
from components.core.errors import ChangedInput, MissingInput
from components.core.evaluation.metrics import predicted_classes
from components.core.evaluation.predictions import Predictions
from components.core.phrases import short_digest
from components.core.training import inference
from components.io import files

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.core.gate.record import DecisionRecord
    from components.io.data.dataset import Dataset
    from components.io.models import LoadedModel

_PROBABILITY = "p:"

# Where the evidence of a decision lies, seen from decision.json: beside it among the artifacts of
# an MLflow run, or where the pipeline writes it.
_FOLDERS = (".", "comparison", "../evaluate")


def logits_of(loaded: LoadedModel, test: Dataset, device: str) -> NDArray[np.float32]:
    """Logits (N, K) of the test images, in the order of the manifest and of the card's classes."""
    return inference.predict_logits(
        loaded.network.to(device), test.splits["test"].pixels, device=device
    )


def to_predictions(logits: NDArray[np.float32], loaded: LoadedModel, test: Dataset) -> Predictions:
    """Predictions in the card's order of classes; the true classes are matched by name."""
    card, rows = loaded.card, test.rows["test"]
    index = {name: k for k, name in enumerate(card.class_names)}
    return Predictions(
        class_names=card.class_names,
        paths=rows["path"].tolist(),
        groups=rows["group"].tolist(),
        labels=np.array([index[name] for name in rows["label"]], dtype=np.int64),
        predicted=predicted_classes(logits),
        probabilities=inference.probabilities(logits, card.temperature),
    )


def to_parquet(predictions: Predictions) -> bytes:
    """The table; equal predictions give equal bytes: no metadata, no dates, one compression."""
    import pyarrow as pa
    from pyarrow import parquet

    names = predictions.class_names
    values: list[object] = [
        predictions.paths,
        predictions.groups,
        [names[k] for k in predictions.labels],
        [names[k] for k in predictions.predicted],
    ]
    columns = dict(zip(PREDICTION_COLUMNS, values, strict=True))
    columns |= {
        f"{_PROBABILITY}{name}": predictions.probabilities[:, k] for k, name in enumerate(names)
    }
    buffer, repeated = BytesIO(), ["label", "predicted"]
    parquet.write_table(pa.table(columns), buffer, compression="zstd", use_dictionary=repeated)
    return buffer.getvalue()


def read(path: Path, sha256: str) -> Predictions:
    """Read a table that must have this digest.

    Raises:
        MissingInput: there is no such file.
        ChangedInput: it has another digest, or is no such table.
    """
    import pandas as pd

    files.require_file(path)
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ChangedInput(
            f"{path}: has SHA-256 {short_digest(found)}, but {short_digest(sha256)} is recorded; "
            "it was changed. Restore it with `dvc checkout`, or run `dvc repro evaluate register`."
        )
    try:
        table = pd.read_parquet(BytesIO(content))
        columns = map(str, table.columns)
        names = [n.removeprefix(_PROBABILITY) for n in columns if n.startswith(_PROBABILITY)]
        index = {name: k for k, name in enumerate(names)}
        return Predictions(
            class_names=names,
            paths=table["path"].tolist(),
            groups=table["group"].tolist(),
            labels=np.array([index[name] for name in table["label"]], dtype=np.int64),
            predicted=np.array([index[name] for name in table["predicted"]], dtype=np.int64),
            probabilities=table[[f"{_PROBABILITY}{name}" for name in names]].to_numpy(np.float64),
        )
    except (OSError, ValueError, KeyError) as error:
        raise ChangedInput(
            f"{path}: is not a table of predictions ({error}); run `dvc repro evaluate`."
        ) from error


def read_evidence(decision: Path, record: DecisionRecord) -> tuple[Predictions, Predictions | None]:
    """The predictions that a decision was made on: the model's, and the champion's if compared.

    Args:
        decision: a decision.json; the tables lie beside it or where the pipeline writes them.
        record: its content.

    Raises:
        MissingInput: a table is absent.
        ChangedInput: a table is not the one that was decided on.
    """
    evidence, champion = record.evidence, None
    predictions = read(find_evidence(decision, "predictions.parquet"), evidence.predictions_sha256)
    if evidence.champion.state == "compared":
        table = find_evidence(decision, "champion.parquet")
        champion = read(table, evidence.champion.predictions_sha256)
    return predictions, champion


def find_evidence(decision: Path, name: str) -> Path:
    """The file of this name that belongs to a decision.json.

    Raises:
        MissingInput: it is in none of the places.
    """
    places = [decision.parent / folder / name for folder in _FOLDERS]
    for place in places:
        if place.is_file():
            return place
    raise MissingInput(
        f"{name}: is not beside {decision} and not at {places[-1]}; run `dvc checkout`, or "
        "download the folder `register` of the model's MLflow run."
    )
