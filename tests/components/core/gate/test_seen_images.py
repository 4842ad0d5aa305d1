"""A champion is compared on images that it has not learned from, and on no others."""

from typing import Any

import pytest

from components.core.evaluation.predictions import Predictions
from components.core.gate.record import Outcome
from tests import factories
from tests.components.core.gate.conftest import decide_on, model_and_champion, policy, row


def without_first(found: Predictions, count: int) -> Predictions:
    return found.among(found.paths[count:])


def decided(seen: int, stated: int | None = None, **demands: Any) -> Outcome:
    """200 images, of which the champion alone gets the first 30 right, because it saw them."""
    found, champion = model_and_champion(0, 30, 200, right=170)
    state = factories.champion_evidence(
        "compared", seen_test_images=seen if stated is None else stated
    )
    return decide_on(found, without_first(champion, seen), policy(**demands), champion=state)


def test_images_that_the_champion_has_seen_do_not_count_for_it() -> None:
    flattered = row(decided(0, non_inferiority_margin=0.05), "champion")
    assert flattered.status == "fail"
    assert flattered.message.startswith("worse than the champion: newly right 0, newly wrong 30")
    honest = row(decided(30, non_inferiority_margin=0.05), "champion")
    assert honest.status == "pass"
    assert "newly right 0, newly wrong 0 of 170 images, accuracy 0.994 to 0.994" in honest.message
    assert "(30 test images left out: they were in the champion's train or val" in honest.message


def test_they_do_not_count_for_a_class_or_for_an_implausible_gain_either() -> None:
    assert row(decided(0, max_class_recall_drop=0.1), "per-class regression").status == "fail"
    assert row(decided(30, max_class_recall_drop=0.1), "per-class regression").status == "pass"
    found, champion = model_and_champion(30, 0, 200, right=170)
    state = factories.champion_evidence("compared", seen_test_images=30)
    demands = policy(max_accuracy_gain=0.1)
    gained = decide_on(found, without_first(champion, 30), demands, champion=state)
    assert row(gained, "implausible result").status == "pass"
    assert row(decide_on(found, champion, demands), "implausible result").status == "fail"


def test_few_that_are_left_prove_little() -> None:
    check = row(decided(190, non_inferiority_margin=0.05), "champion")
    assert check.status == "fail"
    assert check.message.startswith("too few images to tell")


@pytest.mark.parametrize("stated", [0, 29, 31])
def test_images_that_are_missing_without_a_word_are_an_error(stated: int) -> None:
    outcome = decided(30, stated)
    assert outcome.verdict == "error"
    assert outcome.checks[0].message == "the champion was evaluated on other images"


def test_a_champion_that_has_seen_all_images_blocks() -> None:
    found, _ = model_and_champion(0, 0, 200, right=199)
    state = factories.champion_evidence("all_seen", seen_test_images=200)
    outcome = decide_on(found, None, policy(), champion=state)
    assert outcome.verdict == "blocked"
    assert row(outcome, "champion").message.startswith("all 200 test images were in the champion's")
    nothing = factories.champion_evidence("all_seen")
    assert decide_on(found, None, policy(), champion=nothing).verdict == "error"


def test_only_a_champion_that_was_looked_at_can_have_seen_images() -> None:
    found, _ = model_and_champion(0, 0, 20, right=19)
    state = factories.champion_evidence("none", seen_test_images=3)
    assert decide_on(found, None, policy(), champion=state).verdict == "error"


def test_records_without_seen_images_keep_their_bytes() -> None:
    assert "seen_test_images" not in factories.champion_evidence().model_dump()
    assert factories.champion_evidence("compared", seen_test_images=2).model_dump()[
        "seen_test_images"
    ]
