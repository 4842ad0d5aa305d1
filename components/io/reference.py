"""Reference statistics in a model folder: what new images are compared with, to notice drift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.errors import MissingInput
from components.core.training import drift, features
from components.core.training.subset import Subset, evenly, of_each_class
from components.io import files

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from components.core.artifacts import ModelCard
    from components.core.training.inference import ImageArray
    from components.core.training.loop import LabeledImages

FILE = "reference.safetensors"

# Of a larger val split so many images, evenly chosen; of train so many of each class, and in all.
# More would hardly change a test's power, and a pass over all of train takes as long as a third of
# an epoch.
_VAL_IMAGES, _CLASS_IMAGES, _TRAIN_IMAGES = 2_000, 64, 5_000


@dataclass(frozen=True)
class Reference:
    """Statistics of images that the model was not trained on.

    Attributes:
        statistics: (M, 7) of val images, columns as `drift.STATISTICS`.
        class_means: (K, D) features of training images.
    """

    statistics: NDArray[np.float32]
    class_means: NDArray[np.float32]


def measure(
    network: nn.Module,
    architecture: str,
    temperature: float,
    train: LabeledImages,
    val: LabeledImages,
    seen: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    num_classes: int,
    device: str,
) -> Reference:
    """Statistics of val, with class means of train.

    Args:
        network: trained, on `device`.
        architecture: its name.
        temperature: of the model.
        train: images that it was trained on.
        val: images that it was not trained on.
        seen: features and logits of val, as `features.extract` gives them.
        num_classes: K.
        device: where the network lives.
    """
    each = max(1, min(_CLASS_IMAGES, _TRAIN_IMAGES // num_classes))
    images = Subset(train.pixels, of_each_class(train.labels, each))
    found, _ = features.extract(network, architecture, images, device=device)
    means = drift.class_means(found, train.labels[images.indices], num_classes)
    chosen = evenly(val.pixels, _VAL_IMAGES)
    of_val, logits = (part[chosen.indices] for part in seen)
    return Reference(_statistics(chosen, of_val, logits, means, temperature), means)


def statistics_of(
    network: nn.Module,
    architecture: str,
    temperature: float,
    class_means: NDArray[np.float32],
    pixels: ImageArray,
    *,
    device: str,
) -> NDArray[np.float32]:
    """The seven statistics (N, 7) of images."""
    found, logits = features.extract(network, architecture, pixels, device=device)
    return _statistics(pixels, found, logits, class_means, temperature)


def _statistics(
    pixels: ImageArray,
    found: NDArray[np.float32],
    logits: NDArray[np.float32],
    class_means: NDArray[np.float32],
    temperature: float,
) -> NDArray[np.float32]:
    parts = [
        drift.pixel_statistics(pixels[slice(start, start + 64)])
        for start in range(0, len(pixels), 64)
    ]
    of_network = drift.network_statistics(found, logits, class_means, temperature)
    return np.concatenate([np.concatenate(parts), of_network], axis=1)


def write(folder: Path, reference: Reference) -> None:
    """Write it into the model folder; call it before the card is written."""
    from safetensors.numpy import save

    tensors = {"statistics": reference.statistics, "class_means": reference.class_means}
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    content = save(contiguous, {"statistics": " ".join(drift.STATISTICS)})
    files.write_bytes(folder / FILE, content)


def read(folder: Path, card: ModelCard) -> Reference:
    """Read it from a model folder.

    Raises:
        MissingInput: the model was trained before there were such statistics, or with others.
    """
    from safetensors import safe_open

    path = folder / FILE
    if path.is_file():
        with safe_open(path, "numpy") as file:
            names = (file.metadata() or {}).get("statistics", "")
            if names.split() == list(drift.STATISTICS):
                return Reference(file.get_tensor("statistics"), file.get_tensor("class_means"))
    raise MissingInput(
        f"{path}: this model ({card.architecture}, data {card.data_digest[:12]}) carries no "
        "reference statistics that this version reads; train and register one that does with "
        "`dvc repro`."
    )
