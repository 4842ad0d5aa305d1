"""Which labels are likely wrong: confident learning on out-of-fold probabilities.

Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", section 3: an image is counted for a class when its probability there reaches the mean
probability that images labeled so get; the labels off the diagonal of that count are suspicious.
They are ranked by normalized margin (section 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Suspicion(NamedTuple):
    """How suspicious the labels of N images are.

    Attributes:
        order: indices of all images, the most suspicious first.
        suspicious: (N,) whether confident learning finds the label wrong.
        proposed: (N,) the class that the label should be; for others the most probable other one.
        margin: (N,) probability of the label minus that of `proposed`, -1 to 1.
    """

    order: Ints
    suspicious: NDArray[np.bool_]
    proposed: Ints
    margin: Floats


def find(probabilities: Floats, labels: Ints) -> Suspicion:
    """Rank labels by how likely they are wrong.

    Args:
        probabilities: (N, K) from models that have not seen the image.
        labels: (N,) class indices as given.
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    thresholds = _mean_by_class(own, labels, probabilities.shape[1])
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    counted = reached.argmax(axis=1)
    suspicious = (reached.max(axis=1) >= 0) & (counted != labels)
    others = probabilities.copy()
    others[rows, labels] = -1.0
    proposed = np.where(suspicious, counted, others.argmax(axis=1)).astype(np.int64)
    margin = own - probabilities[rows, proposed]
    order = np.lexsort((margin, ~suspicious)).astype(np.int64)
    return Suspicion(order, suspicious, proposed, margin)


def _mean_by_class(own: Floats, labels: Ints, num_classes: int) -> Floats:
    """Mean probability of its label among the images of each class; above 1 without an image."""
    counts = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, own, minlength=num_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), 2.0)


def assign_folds(labels: Ints, groups: Sequence[str], folds: int) -> Ints:
    """A fold for each image (N,), so that groups stay whole and each class is spread evenly.

    Groups go in the order of size, then of name, to the fold that holds fewest images of their
    first image's class, so the folds do not depend on the order of the images' files.

    Args:
        labels: (N,) class indices.
        groups: (N,) names.
        folds: how many, 2 or more.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(group)
    first = np.full(len(names), len(labels))
    np.minimum.at(first, group, np.arange(len(labels)))
    load = np.zeros((int(labels.max()) + 1, folds), np.int64)
    chosen = np.zeros(len(names), np.int64)
    for k in np.argsort(-sizes, kind="stable"):
        label = labels[first[k]]
        fold = int(np.lexsort((load.sum(axis=0), load[label]))[0])
        load[label, fold] += sizes[k]
        chosen[k] = fold
    return chosen[group]
