"""Explain one prediction: where the network looked, and the training images it finds most alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components.core.errors import InvalidData, PipelineError
from components.core.evaluation import heat_map
from components.core.phrases import count, listing
from components.core.training import features, inference
from components.core.training.subset import evenly
from components.io import files
from components.io.reports.plots import explanation
from components.io.reports.plots.explanation import Panel
from pipeline import model_data, predict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.core.training.inference import ImageArray
    from components.io.models import LoadedModel
    from pipeline.chosen_model import ChosenModel

NEIGHBORS = 5

# Of a larger training split so many are looked at, evenly chosen: the features of 2,000 images
# take a minute on two cores, and are kept.
_SEARCHED = 2_000

CAUTION = (
    "A heat map shows where evidence for the class lies, coarsely, and not why. Neighbors are "
    "alike to the network, not to people."
)


class Neighbor(NamedTuple):
    """A training image: cosine similarity of features, its label, its path, its pixels."""

    similarity: float
    label: str
    path: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Explanation:
    """One prediction with what speaks for it.

    Attributes:
        ranked: classes with their probabilities, the most probable first.
        neighbors: training images, the most similar first.
        searched: what they were found in, or why there are none.
        figure: the PNG that shows it.
    """

    ranked: list[tuple[str, float]]
    neighbors: list[Neighbor]
    searched: str
    figure: Path


def explain(chosen: ChosenModel, image: Path, folder: Path, cache: Path) -> Explanation:
    """Predict an image, draw where the network looked and what it resembles.

    Args:
        chosen: the model.
        image: file to explain.
        folder: where to put the figure, under the image's name.
        cache: of the project, keeps the features of the training images.

    Raises:
        MissingInput: there is no such file.
        InvalidData: it is a folder, or cannot be read as an image.
    """
    if image.is_dir():
        raise InvalidData(f"{image}: is a folder; give one image.")
    (found,) = predict.find_images([image])
    loaded = predict.load(chosen.folder)
    square = predict.read_square(found, loaded.card)
    if isinstance(square, str):
        formats = listing(loaded.card.images.formats, 9)
        raise InvalidData(f"{found.path}: {square}; give an image of {formats}.")
    squares = np.array(square)[None]
    device, architecture = inference.resolve_device("auto"), loaded.card.architecture
    own, logits = features.extract(loaded.network, architecture, squares, device=device)
    row = inference.probabilities(logits, loaded.card.temperature)[0]
    order = np.argsort(-row, kind="stable")
    ranked = [(loaded.card.class_names[k], float(row[k])) for k in order]
    heat = heat_map.grad_cam(
        loaded.network, heat_map.feature_layer(architecture), squares, order[:1], device=device
    )[0]
    neighbors, searched = _neighbors(loaded, chosen.digest, own[0], cache)
    figure = folder / f"{found.path.stem}.png"
    shown = [
        Panel(squares[0], "as the network sees it", str(found.path)),
        Panel(heat_map.overlay(squares[0], heat), f"for {ranked[0][0]}", "orange: most evidence"),
        *(Panel(n.pixels, f"{n.label}, {n.similarity:.2f}", n.path) for n in neighbors),
    ]
    title = f"{found.path.name}: {ranked[0][0]} {ranked[0][1]:.2f} ({chosen.title})"
    explanation.explanation(shown, title, CAUTION, figure)
    return Explanation(ranked, neighbors, searched, figure)


def _neighbors(
    loaded: LoadedModel, digest: str, own: NDArray[np.float32], cache: Path
) -> tuple[list[Neighbor], str]:
    """Training images that are most alike, and which were searched."""
    try:
        dataset = model_data.open_for(loaded.card, ("train",))
    except PipelineError as error:
        return [], f"no training images to compare with: {error}"
    train, rows = dataset.splits["train"], dataset.rows["train"]
    some = evenly(train.pixels, _SEARCHED)
    chosen = some.indices
    others = _train_features(loaded, f"{digest} {dataset.digest} {len(chosen)}", some, cache)
    indices, similarities = features.nearest(own, others, NEIGHBORS)
    searched = f"nearest of {count(len(rows), 'training image')}"
    if len(chosen) < len(rows):
        searched = f"nearest of {len(chosen):,} among {count(len(rows), 'training image')}"
    if dataset.digest != loaded.card.data_digest:
        searched += " of the present data; this model was trained on others"
    neighbors = [
        Neighbor(
            float(similarity),
            dataset.class_names[train.labels[k]],
            str(rows["path"].iloc[k]),
            train.pixels[np.array([k])][0],
        )
        for k, similarity in zip(chosen[indices], similarities, strict=True)
    ]
    return neighbors, searched


def _train_features(
    loaded: LoadedModel, what: str, some: ImageArray, cache: Path
) -> NDArray[np.float32]:
    """Features of the chosen training images, computed once for a model and its data."""
    key = hashlib.sha256(what.encode()).hexdigest()
    path = cache / "features" / f"{key}.npy"
    if path.is_file():
        return np.asarray(np.load(path), np.float32)
    device = inference.resolve_device("auto")
    found, _ = features.extract(loaded.network, loaded.card.architecture, some, device=device)
    files.write_with(path, lambda part: np.save(part, found.astype(np.float16)))
    return found
