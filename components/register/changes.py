"""How a model's answers differ from the champion's."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable

import numpy as np

from components.core.evaluation.predictions import Predictions
from components.io.reports.decision import KINDS, Change
from components.io.reports.version import Changes


def find(ours: Predictions, theirs: Predictions | None) -> list[Change]:
    """Test images that one answers correctly and the other does not: by kind, then by path.

    Args:
        ours: of the model.
        theirs: of the champion to the same images, classes in the same order; None if it was not
            compared.
    """
    if theirs is None:
        return []
    names, found = ours.class_names, []
    differing = (theirs.right & ~ours.right, ours.right & ~theirs.right)
    for kind, rows in zip(KINDS, differing, strict=True):
        for row in np.flatnonzero(rows).tolist():
            change = Change(
                kind=kind,
                path=ours.paths[row],
                label=names[ours.labels[row]],
                champion=names[theirs.predicted[row]],
                model=names[ours.predicted[row]],
                certainty=float(ours.probabilities[row, ours.predicted[row]]),
            )
            found.append(change)
    return found


def count(changes: Iterable[Change]) -> Changes:
    """How many there are of each kind."""
    times = Counter(change.kind for change in changes)
    return Changes(newly_wrong=times["newly wrong"], newly_right=times["newly right"])


def to_csv(changes: Iterable[Change]) -> str:
    """One line each; only the header without any."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["change", "path", "label", "champion", "model"])
    writer.writerows([c.kind, c.path, c.label, c.champion, c.model] for c in changes)
    return text.getvalue()
