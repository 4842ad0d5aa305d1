import numpy as np
import pytest

from components.core.training import drift
from components.core.training.drift import class_means, compare, network_statistics


def test_the_pixel_statistics_are_those_computed_by_hand() -> None:
    """One image of a single color, and one whose only bright pixel is in the middle of 3 x 3."""
    flat = np.broadcast_to(np.array([90, 60, 30], np.uint8), (3, 3, 3))
    point = np.zeros((3, 3, 3), np.uint8)
    point[1, 1] = 90
    found = drift.pixel_statistics(np.stack([flat, point]))
    assert found[0] == pytest.approx([60, 0, 0, 60])
    assert found[1] == pytest.approx([10, np.sqrt(800), np.log(361), 0])


def test_blur_and_darkness_move_the_statistics_that_are_named_after_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    smooth = (pixels // 2 + np.roll(pixels, 1, axis=2) // 2).astype(np.uint8)
    brightness, contrast, sharpness, _ = drift.pixel_statistics(pixels)[0]
    assert drift.pixel_statistics(smooth)[0, 2] < sharpness
    darker = drift.pixel_statistics(pixels // 2)[0]
    assert darker[0] == pytest.approx(brightness / 2, abs=1)
    assert darker[1] == pytest.approx(contrast / 2, rel=0.05)


def test_the_network_s_statistics_are_those_computed_by_hand() -> None:
    means = np.array([[2, 0], [0, 0]], np.float32)  # the second class had no image
    features = np.array([[3, 4], [0, 0]], np.float32)
    logits = np.array([[np.log(3), 0], [800, 0]], np.float32)
    found = network_statistics(features, logits, means, 1.0)
    assert found[0] == pytest.approx([0.75, np.log(4), 0.6])
    assert found[1] == pytest.approx([1, 800, 0])
    calibrated = network_statistics(features, logits, means, 2.0)
    assert calibrated[0, 0] == pytest.approx(np.sqrt(3) / (1 + np.sqrt(3)))


def test_class_means_are_means_and_zeros_without_an_image() -> None:
    features = np.array([[1, 2], [3, 4], [5, 5]], np.float32)
    found = class_means(features, np.array([0, 0, 2]), 3)
    assert found.tolist() == [[2, 3], [0, 0], [5, 5]]
    assert found.dtype == np.float32


def statistics(rng: np.random.Generator, images: int) -> np.ndarray:
    return rng.normal(size=(images, len(drift.STATISTICS))).astype(np.float32)


def test_images_that_are_alike_hardly_ever_give_an_alarm() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(
        any(one.alarm for one in compare(statistics(rng, 60), statistics(rng, 30)))
        for _ in range(300)
    )
    assert alarms <= 0.01 * 300


@pytest.mark.parametrize("shifted", range(len(drift.STATISTICS)))
def test_a_shift_of_any_statistic_is_an_alarm_in_its_name(shifted: int) -> None:
    rng = np.random.default_rng(shifted)
    found = statistics(rng, 60)
    found[:, shifted] += 1.5
    findings = compare(statistics(rng, 100), found)
    assert [one.name for one in findings if one.alarm] == [drift.STATISTICS[shifted]]
    (alarm,) = (one for one in findings if one.alarm)
    assert alarm.found - alarm.reference == pytest.approx(1.5, abs=0.5)
    assert 0.4 < alarm.distance <= 1
    assert alarm.p_value < drift.LEVEL / len(drift.STATISTICS)


def test_gray_images_and_other_constants_are_no_drift() -> None:
    same = np.zeros((50, len(drift.STATISTICS)), np.float32)
    assert not any(one.alarm for one in compare(same, same[:30]))
