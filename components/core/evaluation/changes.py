"""How a model's predictions differ from the champion's on the same test images."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from components.core.evaluation.predictions import Predictions

Kind = Literal["newly wrong", "newly right"]
KINDS: tuple[Kind, Kind] = ("newly wrong", "newly right")


class Change(NamedTuple):
    """A test image that one of champion and model classifies correctly and the other does not."""

    kind: Kind
    path: str
    label: str
    champion: str
    model: str
    confidence: float  # probability of the class that the model predicts


def find_changes(model: Predictions, champion: Predictions | None) -> list[Change]:
    """All of them, by kind, then by path.

    Args:
        model: predictions of the model.
        champion: of the champion for the same images, or for some of them, classes in the same
            order; None if it was not compared.
    """
    if champion is None:
        return []
    model = model.among(champion.paths)
    names, changes = model.class_names, []
    flips = (champion.correct & ~model.correct, model.correct & ~champion.correct)
    for kind, rows in zip(KINDS, flips, strict=True):
        for row in np.flatnonzero(rows).tolist():
            change = Change(
                kind=kind,
                path=model.paths[row],
                label=names[model.labels[row]],
                champion=names[champion.predicted[row]],
                model=names[model.predicted[row]],
                confidence=float(model.probabilities[row, model.predicted[row]]),
            )
            changes.append(change)
    return changes
