"""What is searched: ranges, and the settings of the trials that are not left to the sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from components.core.training.schedule import derive_seed

if TYPE_CHECKING:
    from components.core.training.presets import Preset


@dataclass(frozen=True)
class SearchSpace:
    """Ranges include both ends, and both scales are logarithmic.

    Attributes:
        learning_rate: [low, high].
        epochs: [low, high].
        horizontal_flip: choices that the first trials compare, at equal settings; one choice is
            nothing to compare.
        first_trials: settings of the first slots, the defaults once for each choice. If the
            settings can be counted, all of them, so that none is tried twice.
    """

    learning_rate: tuple[float, float]
    epochs: tuple[int, int]
    horizontal_flip: tuple[bool, ...]
    first_trials: tuple[dict[str, float], ...]

    @property
    def num_settings(self) -> float:
        """How many different trials there are; infinite unless the learning rate is one point."""
        low, high = self.learning_rate
        return len(self.first_trials) if low == high else math.inf


def search_space(
    preset: Preset,
    *,
    learning_rate: Literal["auto"] | tuple[float, float],
    epochs: Literal["auto"] | tuple[int, int],
    horizontal_flip: Literal["auto"] | bool,
    seed: int,
) -> SearchSpace:
    """The preset's ranges unless others are given; its defaults are pulled inside them.

    Args:
        preset: for the size of the data set.
        learning_rate: `tune.learning_rate`.
        epochs: `tune.epochs`.
        horizontal_flip: `training.horizontal_flip`; auto = both are compared.
        seed: of the order of settings that can be counted.
    """
    rates = preset.learning_rates if learning_rate == "auto" else learning_rate
    low, high = preset.epochs if epochs == "auto" else epochs
    flips = (False, True) if horizontal_flip == "auto" else (horizontal_flip,)
    default = round((low * high) ** 0.5)  # geometric mean: the middle of a logarithmic scale
    lengths = [default] * len(flips)
    if rates[0] == rates[1]:
        others = [n for n in range(low, high + 1) if n != default]
        order = np.random.default_rng(derive_seed(seed, "epochs of trials")).permutation(others)
        lengths += order.tolist()
    rate = min(max(preset.learning_rate, rates[0]), rates[1])
    first_trials = tuple({"learning_rate": rate, "epochs": n} for n in lengths)
    return SearchSpace(rates, (low, high), flips, first_trials)
