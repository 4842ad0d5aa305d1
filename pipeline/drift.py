"""Compare new images with the reference statistics that travel with a version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.errors import InvalidData
from components.core.training import drift, inference
from components.core.training.drift import Finding
from components.io import reference
from pipeline import predict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.io.models import LoadedModel
    from components.io.reference import Reference
    from pipeline.chosen_model import ChosenModel

_BATCH = 64


@dataclass(frozen=True)
class Drift:
    """New images against val.

    Attributes:
        images: that were compared.
        reference_images: of val.
        unreadable: files with the reason.
        findings: one for each statistic.
    """

    images: int
    reference_images: int
    unreadable: list[tuple[Path, str]]
    findings: list[Finding]

    @property
    def alarm(self) -> bool:
        """Whether the new images are unlike those of val."""
        return any(finding.alarm for finding in self.findings)


def measure(chosen: ChosenModel, paths: Sequence[Path]) -> Drift:
    """Compare the images in files and folders with what the model was validated on.

    Raises:
        MissingInput: a path does not exist, or the model carries no reference.
        InvalidData: fewer images can be read than can be compared.
    """
    found = predict.find_images(paths)
    loaded = predict.load(chosen.folder)
    known = reference.read(chosen.folder, loaded.card)
    rows, unreadable = [], []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(found), _BATCH):
            part = found[start : start + _BATCH]
            squares = list(pool.map(lambda file: predict.read_square(file, loaded.card), part))
            pairs = list(zip(part, squares, strict=True))
            unreadable += [(file.path, why) for file, why in pairs if isinstance(why, str)]
            rows += list(_statistics(loaded, known, squares))
    images = sum(len(row) for row in rows)
    if images < drift.MIN_IMAGES:
        raise InvalidData(
            f"{paths[0]}: {images} images can be read, but at least {drift.MIN_IMAGES} are needed "
            "to tell drift from chance; give more."
        )
    findings = drift.compare(known.statistics, np.concatenate(rows))
    return Drift(images, len(known.statistics), unreadable, findings)


def _statistics(
    loaded: LoadedModel, known: Reference, squares: Sequence[NDArray[np.uint8] | str]
) -> Iterator[NDArray[np.float32]]:
    """Of the readable ones, if there are any."""
    readable = [square for square in squares if not isinstance(square, str)]
    if readable:
        yield reference.statistics_of(
            loaded.network,
            loaded.card.architecture,
            loaded.card.temperature,
            known.class_means,
            np.stack(readable),
            device=inference.resolve_device("auto"),
        )
