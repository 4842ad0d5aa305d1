"""The temperature of a model: fitted on val, kept only where cross-validation shows a gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.core.training.inference import probabilities
from components.core.training.schedule import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Few enough for a val split of some twenty images, and the usual number.
FOLDS = 5

_BOUNDS = (0.05, 20.0)


@dataclass(frozen=True)
class Calibration:
    """The temperature that was chosen, and the log losses on val that it was chosen by.

    Attributes:
        temperature: 1.0 unless the fitted one is better by more than one standard error.
        plain: log loss at temperature 1.
        fitted: log loss of each fold at the temperature fitted on the others.
    """

    temperature: float
    plain: float
    fitted: float

    def __str__(self) -> str:
        losses = f"cross-validated log loss on val {self.fitted:.3f}, without it {self.plain:.3f}"
        if self.temperature == 1.0:
            return f"1.0, a fitted one gains nothing that is certain ({losses})"
        return f"{self.temperature:.2f} ({losses})"


def calibrate(
    logits: NDArray[np.float32], labels: NDArray[np.int64], groups: Sequence[str]
) -> Calibration:
    """Fit a temperature, and keep it only if it gains on images that it was not fitted on.

    The gain is the sum over held-out folds; its standard error is that of a sum over groups, since
    near duplicates are right or wrong together. One standard error is the margin: a temperature
    fitted on few images is noise, and makes the calibration worse as often as better.

    Args:
        logits: (N, K) of val.
        labels: (N,) class indices.
        groups: (N,) names; the images of one group stay in one fold, whatever their order.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    fold = np.array([derive_seed("calibration", name) % FOLDS for name in names])[group]
    plain = log_losses(logits, labels, 1.0)
    fitted = plain.copy()
    for k in np.unique(fold):
        held_out, others = fold == k, fold != k
        if others.any():
            temperature = fit_temperature(logits[others], labels[others])
            fitted[held_out] = log_losses(logits[held_out], labels[held_out], temperature)
    gains = np.bincount(group, plain - fitted)
    standard_error = float(gains.std()) * len(gains) ** 0.5
    gained = float(gains.sum()) > standard_error
    chosen = fit_temperature(logits, labels) if gained else 1.0
    return Calibration(chosen, float(plain.mean()), float(fitted.mean()))


def log_losses(
    logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float
) -> NDArray[np.float64]:
    """-log of the probability of each true class: (N,)."""
    chosen = probabilities(logits, temperature)[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(chosen, 1e-12)))


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature in [0.05, 20] with the least log loss on these labels.

    A share of 1 / (N + 2) of each label is spread over all classes: without it, images that are all
    right would ask for certainty, however few they are. It changes no prediction, only confidence.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2; the share is
    Platt's of 1999, "Probabilistic Outputs for Support Vector Machines", section 2.2.
    """
    from scipy.optimize import minimize_scalar

    spread = 1 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        found = probabilities(logits, float(np.exp(log_temperature)))
        logs = -np.log(np.maximum(found, 1e-12))
        true = logs[np.arange(len(labels)), labels]
        return float(((1 - spread) * true + spread * logs.mean(axis=1)).mean())

    low, high = np.log(_BOUNDS)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))
