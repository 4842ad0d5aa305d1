"""What happens when in a training: pure functions of the seed and of the position."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def balanced_weights(labels: NDArray[np.int64], num_classes: int) -> tuple[float, ...]:
    """Loss weight of each class, n / (K * n_class), as in scikit-learn's "balanced"."""
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1)
    return tuple(float(w) for w in len(labels) / (num_classes * counts))


def learning_rate_at(step: int, total: int, peak: float, warmup_fraction: float) -> float:
    """Learning rate of step 0..total-1: linear warmup, then half a cosine towards zero.

    Source of the cosine: Loshchilov and Hutter 2017, "SGDR".
    """
    warmup_steps = round(warmup_fraction * total)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return (
        peak * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(total - warmup_steps, 1)))
    )


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any values: equal parts give equal seeds, other parts unrelated ones."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def count_parts(count: int, size: int) -> int:
    """Into how many near-equal parts of about `size` to split `count`; none has a single one.

    Near-equal, because BatchNorm cannot train on a last batch of one.
    """
    return max(min(math.ceil(count / size), count // 2), 1)


def shuffled_batches(count: int, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Shuffled indices 0..count-1 in near-equal batches; none has a single image."""
    order = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(count)
    parts = np.array_split(order, count_parts(count, batch_size))
    return [np.sort(part) for part in parts]


def stratified_subset(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Sorted indices of about `fraction` of each class, at least two images of every class."""
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(round(fraction * len(members)), min(2, len(members)))
        order = np.random.default_rng(derive_seed(seed, "subset", label)).permutation(members)
        chosen.append(order[:count])
    return np.sort(np.concatenate(chosen))
