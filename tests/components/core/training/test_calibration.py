"""The temperature: found where it is planted, and left at 1 where nothing shows that it gains."""

import numpy as np
import pytest
from numpy.typing import NDArray

from components.core.training.calibration import calibrate, fit_temperature, log_losses
from components.core.training.inference import probabilities


def planted(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and labels drawn from exactly their softmax: calibrated at temperature 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 4)).astype(np.float32)
    cumulated = probabilities(logits, 1.0).cumsum(axis=1)
    return logits, (rng.random((count, 1)) > cumulated).sum(axis=1)


def apart(count: int) -> list[str]:
    """A group for each image."""
    return [f"group {k}" for k in range(count)]


def test_the_log_loss_of_two_images_by_hand() -> None:
    logits = np.log(np.array([[3.0, 1.0], [3.0, 1.0]], np.float32))  # 3/4 and 1/4
    found = log_losses(logits, np.array([0, 1]), 1.0)
    assert found == pytest.approx([np.log(4 / 3), np.log(4)])


@pytest.mark.parametrize("scale", [1 / 3, 1.0, 3.0])
def test_the_temperature_fit_finds_a_planted_temperature(scale: float) -> None:
    logits, labels = planted(4000)
    found = fit_temperature((logits * scale).astype(np.float32), labels)
    assert found == pytest.approx(scale, rel=0.06)


def test_a_fitted_temperature_has_the_least_log_loss() -> None:
    logits, labels = planted(500)
    logits *= 4
    best = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return float(log_losses(logits, labels, temperature).mean())

    assert loss(best) < loss(1.0)
    assert loss(best) <= min(loss(best * 0.9), loss(best * 1.1))


def test_a_few_images_that_are_all_right_do_not_ask_for_certainty() -> None:
    logits = np.tile(np.array([[1.0, -1.0]], np.float32), (10, 1))
    found = fit_temperature(logits, np.zeros(10, np.int64))
    # 1/12 of each label is spread over two classes, so 11.5 of 12 are asked for
    assert probabilities(logits[:1], found)[0, 0] == pytest.approx(11.5 / 12, abs=1e-4)


def test_the_temperature_stays_inside_its_bounds() -> None:
    logits = np.tile(np.array([[1.0, -1.0]], np.float32), (10, 1))
    assert 19 < fit_temperature(logits, np.ones(10, np.int64)) <= 20  # all wrong
    assert (
        0.05 <= fit_temperature((logits / 1000).astype(np.float32), np.zeros(10, np.int64)) < 0.06
    )  # all right


def test_logits_that_are_three_times_too_sure_get_the_temperature_that_mends_them() -> None:
    logits, labels = planted(300)
    found = calibrate((3 * logits).astype(np.float32), labels, apart(300))
    assert found.temperature == pytest.approx(3.0, rel=0.2)
    assert found.fitted < found.plain
    assert str(found).startswith(f"{found.temperature:.2f} (cross-validated log loss on val ")


@pytest.mark.parametrize("count", [20, 60, 300])
def test_calibrated_logits_keep_their_temperature_on_val_splits_of_every_size(count: int) -> None:
    kept = [calibrate(*planted(count, seed), apart(count)).temperature == 1.0 for seed in range(20)]
    assert sum(kept) >= 18
    assert str(calibrate(*planted(count), apart(count))).startswith("1.0, a fitted one gains not")


def test_one_image_and_one_group_are_too_few_to_fit_anything() -> None:
    logits, labels = planted(40)
    logits *= 5
    assert calibrate(logits[:1], labels[:1], apart(1)).temperature == 1.0
    assert calibrate(logits, labels, ["the same"] * 40).temperature == 1.0


def test_the_order_of_the_images_does_not_matter() -> None:
    logits, labels = planted(100)
    logits *= 2
    order = np.random.default_rng(1).permutation(100)
    groups = apart(100)
    first = calibrate(logits, labels, groups)
    second = calibrate(logits[order], labels[order], [groups[k] for k in order])
    assert second.temperature == pytest.approx(first.temperature, rel=1e-4)
    assert second.fitted == pytest.approx(first.fitted)


def test_copies_of_an_image_are_no_further_evidence() -> None:
    # A gain that is uncertain on 12 images stays so when each of them is there ten times.
    logits, labels = planted(12, seed=3)
    logits *= 1.6
    once = calibrate(logits, labels, apart(12))
    copies = calibrate(
        np.repeat(logits, 10, 0), np.repeat(labels, 10), list(np.repeat(apart(12), 10))
    )
    assert once.temperature == copies.temperature == 1.0
    unrelated = calibrate(np.repeat(logits, 10, 0), np.repeat(labels, 10), apart(120))
    assert unrelated.temperature != 1.0
