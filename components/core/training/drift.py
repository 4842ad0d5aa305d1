"""Whether new images are like those that a model was validated on.

Each image becomes seven numbers: four of its pixels, three of what the network makes of it. For
each of them the new images are compared with those of val by the two-sample Kolmogorov-Smirnov
test; an alarm is a p-value below `LEVEL`, divided by the number of tests (Bonferroni), so that
images like those of val give a false alarm with a chance of at most `LEVEL`, however many of
either there are. That holds for images that are drawn one by one: a burst of one scene is no
sample of the world.

Sources: Rabanser et al. 2019, "Failing Loudly", section 3, for tests of the network's outputs;
Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples", for the
distance to class means; Liu et al. 2020, "Energy-based Out-of-distribution Detection", for the
energy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components.core.training.inference import probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

STATISTICS = (
    "brightness",
    "contrast",
    "sharpness",
    "saturation",
    "confidence",
    "energy",
    "similarity",
)

# Chance of a false alarm, all statistics together.
LEVEL = 0.005

# With fewer images next to nothing can be told.
MIN_IMAGES = 20


class Finding(NamedTuple):
    """One statistic of the new images against val.

    Attributes:
        name: of the statistic.
        reference: median on val.
        found: median of the new images.
        distance: between the two distributions, 0 to 1 (Kolmogorov and Smirnov's D).
        p_value: chance of such a distance among images that are alike.
        alarm: whether it is smaller than chance allows.
    """

    name: str
    reference: float
    found: float
    distance: float
    p_value: float
    alarm: bool


def pixel_statistics(pixels: NDArray[np.uint8]) -> Floats:
    """Brightness, contrast, sharpness and saturation of images (N, S, S, 3): (N, 4).

    Brightness and contrast are mean and standard deviation of gray, saturation is the mean of the
    largest minus the smallest channel, all in 0..255; sharpness is log(1 + mean |Laplacian|).
    """
    gray = pixels.astype(np.float32).mean(axis=3)
    inner = gray[:, 1:-1, 1:-1]
    neighbors = gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
    sharpness = np.log1p(np.abs(4 * inner - neighbors).mean(axis=(1, 2)))
    spread = np.ptp(pixels, axis=3).mean(axis=(1, 2))
    columns = [gray.mean(axis=(1, 2)), gray.std(axis=(1, 2)), sharpness, spread]
    return np.stack(columns, axis=1).astype(np.float32)


def network_statistics(
    features: Floats, logits: Floats, class_means: Floats, temperature: float
) -> Floats:
    """Confidence, energy and similarity: (N, 3).

    Confidence is the largest calibrated probability, energy the log of the sum of the logits'
    exponentials, similarity the cosine between the features and the nearest class mean.

    Args:
        features: (N, D).
        logits: (N, K).
        class_means: (K, D), of training images.
        temperature: of the model.
    """
    highest = logits.max(axis=1, keepdims=True)
    energy = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=1))
    tiny = np.finfo(np.float32).tiny
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), tiny)
    means = class_means / np.maximum(np.linalg.norm(class_means, axis=1, keepdims=True), tiny)
    similarity = (unit @ means.T).max(axis=1)
    confidence = probabilities(logits, temperature).max(axis=1)
    return np.stack([confidence, energy, similarity], axis=1).astype(np.float32)


def class_means(features: Floats, labels: NDArray[np.int64], num_classes: int) -> Floats:
    """Mean features of each class (K, D); zeros for a class without an image.

    Args:
        features: (N, D) of training images.
        labels: (N,) class indices.
        num_classes: K.
    """
    sums = np.zeros((num_classes, features.shape[1]), np.float64)
    np.add.at(sums, labels, features)
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    return (sums / np.maximum(counts, 1)).astype(np.float32)


def compare(reference: Floats, found: Floats) -> list[Finding]:
    """Compare the statistics of new images (N, 7) with those of val (M, 7), one by one."""
    from scipy.stats import ks_2samp

    findings = []
    for k, name in enumerate(STATISTICS):
        result = ks_2samp(reference[:, k], found[:, k])
        findings.append(
            Finding(
                name=name,
                reference=float(np.median(reference[:, k])),
                found=float(np.median(found[:, k])),
                distance=float(result.statistic),
                p_value=float(result.pvalue),
                alarm=bool(result.pvalue < LEVEL / len(STATISTICS)),
            )
        )
    return findings
