"""Predict the classes of files and folders, without MLflow's code in between.

Pixels, network and temperature go through the same functions as in evaluate and in serving.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components.core.data.decoding import InvalidImage, load_image
from components.core.errors import MissingInput
from components.core.training import inference
from components.io import process
from components.io.data import scan
from components.io.data.cpus import usable_cpus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.core.artifacts import ModelCard
    from components.io.models import LoadedModel

# Images in memory at a time.
_BATCH = 32


class Found(NamedTuple):
    """A file to predict, or what keeps it from being one.

    Attributes:
        path: as it was given, or below a folder that was.
        problem: why it is not opened; empty if it is.
    """

    path: Path
    problem: str = ""


class Prediction(NamedTuple):
    """Of one file: either `problem`, or all the others.

    Attributes:
        path: of the file.
        label: the most probable class.
        probability: its probability, calibrated.
        probabilities: of all classes, in the order of the card.
        problem: why the file could not be read.
    """

    path: Path
    label: str = ""
    probability: float = 0.0
    probabilities: tuple[float, ...] = ()
    problem: str = ""


def find_images(paths: Sequence[Path]) -> list[Found]:
    """All files that were named, and all files below folders that were, sorted; junk is left out.

    Raises:
        MissingInput: a path does not exist, or there is no file in any of them.
    """
    found: list[Found] = []
    for path in paths:
        if path.is_dir():
            kinds = sorted(entry for entry in scan.entries(path) if entry[1] != "folder")
            found += [Found(path / name, "" if kind == "file" else kind) for name, kind in kinds]
        elif path.exists():
            found.append(Found(path, "" if path.is_file() else "a FIFO, socket or device"))
        else:
            raise MissingInput(f"{path}: does not exist; give image files, or folders of them.")
    if not found:
        raise MissingInput(f"{paths[0]}: holds no file; give image files, or folders of them.")
    return found


def load(folder: Path) -> LoadedModel:
    """The model, on the device that predicts."""
    process.configure()
    from components.io import models

    loaded = models.load(folder)
    loaded.network.to(inference.resolve_device("auto"))
    return loaded


def predict(loaded: LoadedModel, found: Sequence[Found]) -> Iterator[Prediction]:
    """One prediction for each file, in order, as they are made."""
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for start in range(0, len(found), _BATCH):
            part = found[start : start + _BATCH]
            squares = list(pool.map(lambda file: read_square(file, loaded.card), part))
            yield from _predict_batch(loaded, part, squares)


def read_square(file: Found, card: ModelCard) -> NDArray[np.uint8] | str:
    """The network's input (S, S, 3), or why there is none."""
    if file.problem:
        return file.problem
    try:
        if file.path.stat().st_size > scan.max_bytes(card.images):
            return "more bytes than an image can have"
        return load_image(file.path.read_bytes(), card.image_size, card.images)
    except InvalidImage as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _predict_batch(
    loaded: LoadedModel, part: Sequence[Found], squares: Sequence[NDArray[np.uint8] | str]
) -> Iterator[Prediction]:
    readable = [square for square in squares if not isinstance(square, str)]
    table = probabilities_of(loaded, np.stack(readable)) if readable else np.zeros((0, 0))
    rows = iter(table)
    for file, square in zip(part, squares, strict=True):
        if isinstance(square, str):
            yield Prediction(file.path, problem=square)
        else:
            row = next(rows)
            best = int(row.argmax())
            label = loaded.card.class_names[best]
            yield Prediction(file.path, label, float(row[best]), tuple(row.tolist()))


def probabilities_of(loaded: LoadedModel, squares: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Calibrated probabilities (N, K) of network inputs (N, S, S, 3)."""
    device = inference.resolve_device("auto")
    logits = inference.predict_logits(loaded.network, squares, device=device)
    return inference.probabilities(logits, loaded.card.temperature)
