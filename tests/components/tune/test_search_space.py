"""What is searched, and the settings that are not left to the sampler."""

import math
from typing import Any

import pytest

from components.core.training.presets import choose_preset
from components.tune.search_space import SearchSpace, search_space

PRESET = choose_preset("small", 500, "random")


def space(**changes: Any) -> SearchSpace:
    values: dict[str, Any] = {
        "learning_rate": "auto",
        "epochs": "auto",
        "horizontal_flip": False,
        "seed": 0,
    }
    return search_space(PRESET, **(values | changes))


def test_auto_is_the_presets_range_with_its_default_first() -> None:
    found = space()
    assert (found.learning_rate, found.epochs) == (PRESET.learning_rates, PRESET.epochs)
    assert found.first_trials == ({"learning_rate": 1e-3, "epochs": 19},)  # sqrt(15 * 25) = 19.4
    assert found.num_settings == math.inf


@pytest.mark.parametrize(
    ("rates", "first"), [((1e-5, 1e-4), 1e-4), ((2e-3, 5e-3), 2e-3), ((1e-4, 1e-2), 1e-3)]
)
def test_the_default_is_pulled_into_a_range_that_is_set(
    rates: tuple[float, float], first: float
) -> None:
    assert space(learning_rate=rates).first_trials[0]["learning_rate"] == first


def test_both_flips_are_tried_at_the_default_settings() -> None:
    found = space(horizontal_flip="auto")
    assert found.horizontal_flip == (False, True)
    assert found.first_trials[0] == found.first_trials[1]
    assert space(horizontal_flip=True).horizontal_flip == (True,)


@pytest.mark.parametrize(
    ("epochs", "flip", "settings"),
    [((4, 4), False, 1), ((4, 4), "auto", 2), ((3, 7), True, 5), ((3, 7), "auto", 6)],
)
def test_settings_that_can_be_counted_are_all_listed_and_none_twice(
    epochs: tuple[int, int], flip: Any, settings: int
) -> None:
    found = space(learning_rate=(1e-3, 1e-3), epochs=epochs, horizontal_flip=flip)
    assert found.num_settings == len(found.first_trials) == settings
    rest = found.first_trials[len(found.horizontal_flip) - 1 :]
    assert sorted(trial["epochs"] for trial in rest) == list(range(epochs[0], epochs[1] + 1))
