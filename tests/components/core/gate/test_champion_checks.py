from typing import Any

import pytest

from components.core.evaluation.intervals import (
    cluster_bootstrap_lower_bound,
    paired_lower_bound,
    sum_by_group,
)
from components.core.evaluation.predictions import Predictions
from components.core.gate.record import Check, Outcome
from tests.components.core.gate.conftest import (
    decide_on,
    failing,
    model_and_champion,
    policy,
    predictions,
    row,
)
from tests.factories import champion_evidence

SUPERIOR: dict[str, Any] = {"champion_test": "superior"}


def compare(gained: int, lost: int, total: int = 200, **demands: object) -> Check:
    found, champion = model_and_champion(gained, lost, total)
    return row(decide_on(found, champion, policy(**demands)), "champion")


def in_class_1(
    lost: int, images: int, gained: int = 0, classes: int = 3, **demands: object
) -> Outcome:
    """Class 1 has `images`; `lost` and `gained` of them change. Class 0 gains twenty of thirty."""
    labels = [0] * 30 + [1] * images + list(range(2, classes)) * 5
    rest = labels[30 + images :]
    model = [0] * 30 + [2] * lost + [1] * (images - lost) + rest
    champion = [0] * 10 + [2] * 20 + [1] * (images - gained) + [2] * gained + rest
    return decide_on(
        predictions(labels, model, classes=classes),
        predictions(labels, champion, classes=classes),
        policy(**demands),
    )


def test_a_better_model_is_superior_and_an_equal_or_worse_one_is_not() -> None:
    better, equal, worse = (compare(*counts, **SUPERIOR) for counts in ((20, 5), (9, 9), (5, 20)))
    assert [c.status for c in (better, equal, worse)] == ["pass", "fail", "fail"]
    assert better.message == (
        "better than the champion: newly right 20, newly wrong 5 of 200 images, accuracy 0.030 to "
        "0.105; p = 0.00408, below 0.05 is required"
    )
    assert better.threshold == "> 0, p < 0.05"
    assert better.value == 15 / 200
    assert equal.message.startswith("not better than the champion: newly right 9, newly wrong 9")
    assert worse.message.startswith("not better than the champion: newly right 5, newly wrong 20")


def test_equal_answers_are_not_superior() -> None:
    assert compare(0, 0, **SUPERIOR).status == "fail"
    assert compare(0, 0, **SUPERIOR).message.startswith("not better")


@pytest.mark.row("P11")
def test_five_images_are_luck_and_six_are_not() -> None:
    # 2 / 2^5 = 0.0625 and 2 / 2^6 = 0.03125
    five, six = compare(5, 0, **SUPERIOR), compare(6, 0, **SUPERIOR)
    assert five.status == "fail"
    assert five.message.startswith(
        "too few images to tell: better than the champion, but maybe by chance"
    )
    assert six.status == "pass"


def test_a_chance_that_equals_its_bound_is_not_less() -> None:
    exactly = {"confidence_level": 1 - 2 / 64} | SUPERIOR
    assert compare(6, 0, **exactly).status == "fail"
    assert compare(7, 0, **exactly).status == "pass"


def test_swapped_groups_need_more_than_swapped_images() -> None:
    # Twelve newly right images: 0.0005 if independent, 2 / 2^3 if they are three objects.
    groups = [f"object {n // 4}" for n in range(12)] + [f"{n}" for n in range(12, 200)]
    found, champion = model_and_champion(12, 0, 200, groups=groups)
    assert row(decide_on(found, champion, policy(**SUPERIOR)), "champion").status == "fail"
    assert compare(12, 0, **SUPERIOR).status == "pass"


def test_a_better_or_equal_model_is_not_worse_and_a_worse_one_is() -> None:
    non_inferiority_margin: dict[str, Any] = {"non_inferiority_margin": 0.05}
    better, equal, worse = (
        compare(*counts, **non_inferiority_margin) for counts in ((9, 2), (4, 4), (2, 20))
    )
    assert [c.status for c in (better, equal, worse)] == ["pass", "pass", "fail"]
    assert better.message == (
        "not worse than the champion: newly right 9, newly wrong 2 of 200 images, accuracy 0.015 "
        f"to 0.050, difference at least {paired_lower_bound(9, 2, 200, 0.95):+.4f} (95 % lower "
        "bound); -0.0500 is allowed"
    )
    assert better.threshold == ">= -0.0500"
    assert worse.message.startswith("worse than the champion: newly right 2, newly wrong 20")


def test_equal_answers_are_not_worse_when_there_are_enough_images() -> None:
    # Without a discordant image the lower end is -z^2 / (n + z^2): -0.02 needs 189 images.
    few, enough = (
        compare(0, 0, 188, non_inferiority_margin=0.02),
        compare(0, 0, 189, non_inferiority_margin=0.02),
    )
    assert few.status == "fail"
    assert few.message.startswith("too few images to tell whether it is worse than the champion")
    assert enough.status == "pass"


def test_a_loss_exactly_as_large_as_the_margin_has_too_few_images_to_tell() -> None:
    assert compare(0, 4, 200, non_inferiority_margin=0.02).message.startswith(
        "too few images to tell"
    )
    assert compare(0, 5, 200, non_inferiority_margin=0.02).message.startswith(
        "worse than the champion"
    )


def test_losses_that_come_in_groups_are_less_certain() -> None:
    # Ten images of one object got lost and ten of another were won.
    groups = ["a"] * 10 + ["b"] * 10 + [f"{n}" for n in range(20, 200)]
    found, champion = model_and_champion(10, 10, 200, groups=groups)
    check = row(decide_on(found, champion), "champion")
    values = (champion.labels == found.predicted).astype(int) - (
        champion.labels == champion.predicted
    )
    expected = cluster_bootstrap_lower_bound(*sum_by_group(groups, values), 0.95, worst=-1)
    assert check.value == expected < paired_lower_bound(10, 10, 200, 0.95)


def test_groups_without_a_difference_still_need_enough_groups() -> None:
    few = [f"{n // 20}" for n in range(200)]
    found, champion = model_and_champion(0, 0, 200, groups=few)
    assert (
        row(decide_on(found, champion, policy(non_inferiority_margin=0.1)), "champion").status
        == "fail"
    )
    assert compare(0, 0, 200, non_inferiority_margin=0.1).status == "pass"


@pytest.mark.parametrize(
    ("gained", "lost", "demands"), [(16, 5, SUPERIOR), (4, 4, {"non_inferiority_margin": 0.035})]
)
def test_a_reused_test_set_asks_for_more_confidence(
    gained: int, lost: int, demands: dict[str, object]
) -> None:
    found, champion = model_and_champion(gained, lost, 200)
    fresh, reused = (
        decide_on(found, champion, policy(**demands), previous_test_uses=n) for n in (19, 399)
    )
    assert row(fresh, "champion").status == "pass"
    assert row(reused, "champion").status == "fail"


def test_the_champion_itself_is_not_compared() -> None:
    outcome = decide_on(model_and_champion(0, 0, 200)[0], champion=champion_evidence("same"))
    assert row(outcome, "champion").message == "this model is the champion"
    assert row(outcome, "per-class regression").message == "no champion to compare with"


@pytest.mark.row("P12")
def test_a_class_that_drops_blocks_while_the_mean_rises() -> None:
    outcome = in_class_1(lost=15, images=50, max_class_recall_drop=0.1)
    assert failing(outcome) == ["per-class regression"]
    check = outcome.checks[0]
    assert check.value == 0.3
    assert check.threshold == "<= 0.1 beyond chance"
    assert check.message == (
        "recall of class 1 dropped by 0.300 (50 images), more than chance explains; 0.1 is allowed"
    )
    assert row(outcome, "champion").value is not None
    assert "newly right 20, newly wrong 15" in row(outcome, "champion").message


def test_a_loss_within_the_limit_is_allowed_and_one_image_more_is_not() -> None:
    assert in_class_1(lost=15, images=50, max_class_recall_drop=0.3).verdict == "passed"
    assert in_class_1(lost=16, images=50, max_class_recall_drop=0.3).verdict == "blocked"
    check = row(in_class_1(lost=15, images=50, max_class_recall_drop=0.3), "per-class regression")
    assert "more than chance explains; 0.3 is allowed" in check.message


def test_a_loss_that_chance_explains_is_stated_but_blocks_nothing() -> None:
    # Three classes: the first needs a chance of 0.025 / 3 = 1 / 120; 1 / 2^6 is more, 1 / 2^7 less.
    check = row(in_class_1(lost=6, images=20, max_class_recall_drop=0.1), "per-class regression")
    assert check.status == "pass"
    assert check.message == (
        "recall of class 1 dropped by 0.300 (20 images), which may be chance; 0.1 is allowed"
    )
    assert in_class_1(lost=7, images=20, max_class_recall_drop=0.1).verdict == "blocked"


def test_more_classes_ask_for_more_confidence() -> None:
    assert in_class_1(lost=8, images=20, classes=6, max_class_recall_drop=0.1).verdict == "blocked"
    assert in_class_1(lost=8, images=20, classes=30, max_class_recall_drop=0.1).verdict == "passed"


def test_a_reused_test_set_asks_for_more_confidence_about_classes_too() -> None:
    found, champion = model_and_champion(0, 7, 200, right=100)
    required = policy(max_class_recall_drop=0.01)
    fresh, reused = (decide_on(found, champion, required, previous_test_uses=n) for n in (0, 199))
    assert row(fresh, "per-class regression").status == "fail"
    assert row(reused, "per-class regression").status == "pass"


def test_images_of_one_object_are_one_drop() -> None:
    groups = ["object"] * 8 + [f"{n}" for n in range(8, 200)]
    found, champion = model_and_champion(0, 8, 200, right=100, groups=groups)
    check = row(
        decide_on(found, champion, policy(max_class_recall_drop=0.01)), "per-class regression"
    )
    assert check.status == "pass"
    assert "which may be chance" in check.message


def test_several_dropped_classes_are_counted_and_the_largest_is_named() -> None:
    labels = [0] * 50 + [1] * 50 + [2] * 50
    champion = predictions(labels, labels, classes=3)
    predicted = [1] * 12 + [0] * 38 + [2] * 20 + [1] * 30 + [0] * 15 + [2] * 35
    outcome = decide_on(
        predictions(labels, predicted, classes=3), champion, policy(max_class_recall_drop=0.1)
    )
    assert "recall of class 1 and 2 more classes dropped by 0.400" in (
        row(outcome, "per-class regression").message
    )


def test_a_large_drop_by_chance_does_not_hide_a_smaller_real_one() -> None:
    # Class 1 drops by 2 of 4 images, class 0 by 20 of 100: only the second is significant.
    labels = [0] * 100 + [1] * 4
    model = predictions(labels, [1] * 20 + [0] * 80 + [0, 0, 1, 1])
    outcome = decide_on(model, predictions(labels, labels), policy(max_class_recall_drop=0.1))
    assert row(outcome, "per-class regression").status == "fail"
    assert (
        "recall of class 0 dropped by 0.200 (100 images)"
        in row(outcome, "per-class regression").message
    )


def test_a_class_without_test_images_is_no_loss_and_no_obstacle() -> None:
    labels = [0] * 50 + [1] * 50
    found: Predictions = predictions(labels, [0] * 49 + [2] + [1] * 50, classes=3)
    check = row(decide_on(found, predictions(labels, labels, classes=3)), "per-class regression")
    assert check.value == 1 / 50


def test_a_model_that_loses_nowhere_says_so() -> None:
    check = row(
        decide_on(*model_and_champion(3, 0, 200), policy(max_class_recall_drop=0.1)),
        "per-class regression",
    )
    assert check.status == "pass"
    assert check.message == "no class lost recall; 0.1 is allowed"
    assert check.value == 0
