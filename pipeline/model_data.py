"""The images of the last validation, as a model from anywhere reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components import evaluate
from components.core.artifacts import Split
from components.core.data.decoding import DataParams
from components.core.errors import ChangedInput
from components.core.phrases import listing
from components.core.training.loop import LabeledImages
from components.io import params
from components.io.data.dataset import DataPaths, Dataset, open_dataset
from pipeline import SETTINGS

if TYPE_CHECKING:
    from components.core.artifacts import ModelCard


def open_for(card: ModelCard, splits: tuple[Split, ...]) -> Dataset:
    """Splits of the present data, decoded and resized as the card says, in its order of classes.

    Raises:
        MissingInput: the data were not validated here.
        ChangedInput: they are not what was validated, or have classes that the model does not know.
    """
    settings = params.load(SETTINGS, evaluate.Params)
    data = DataParams(**card.images.model_dump(), cache_gib=settings.data.cache_gib)
    dataset = open_dataset(DataPaths(), data, card.image_size, splits)
    if unknown := sorted(set(dataset.class_names) - set(card.class_names)):
        raise ChangedInput(
            f"{DataPaths().images}: has classes that the model does not know "
            f"({listing(unknown, 3)}); check out the data that it was trained on (`git checkout`, "
            "`dvc checkout`, `dvc repro validate`)."
        )
    index = np.array([card.class_names.index(name) for name in dataset.class_names], dtype=np.int64)
    ordered = {
        split: LabeledImages(part.pixels, index[part.labels])
        for split, part in dataset.splits.items()
    }
    return Dataset(ordered, dataset.rows, card.class_names, dataset.digest)
