"""What chaos does follows from the seed, and it does all that it can."""

import random
from collections import Counter

from tests.faults import chaos
from tests.test_end_to_end import STEPS


def plan(seed: int, step: str, count: int = 300) -> list[str]:
    rng = random.Random(seed)
    return [str(chaos.draw(rng, step)) for _ in range(count)]


def kinds(plans: list[str]) -> set[str]:
    """The words behind step and share."""
    return {words.split()[2] for words in plans}


def test_equal_seeds_hurt_alike_and_others_do_not() -> None:
    for step in STEPS:
        assert plan(1, step) == plan(1, step)
        assert plan(1, step) != plan(2, step)


def test_every_kind_of_fault_happens_to_steps_that_talk_to_mlflow() -> None:
    assert kinds(plan(3, "train")) == {
        "kill", "terminate", "interrupt", "restart", "drop", "cut", "status", "refuse", "latency",
    }  # fmt: skip


def test_validate_is_only_stopped() -> None:
    assert kinds(plan(4, "validate")) == {"kill", "terminate", "interrupt"}


def test_a_round_hurts_the_step_that_it_begins_with_and_those_behind_it_in_order() -> None:
    rng, hurt = random.Random(5), Counter[str]()
    for _ in range(300):
        done, hurts = chaos.draw_round(rng)
        places = [STEPS.index(each.step) for each in hurts]
        assert places == sorted(places)
        assert places[0] == done
        hurt.update(each.step for each in hurts)
    assert min(hurt[step] for step in STEPS) > 10
    assert hurt.total() > 2 * 300


def test_a_traceback_is_not_our_word_and_an_error_line_is() -> None:
    assert chaos._OURS.search("tune: internal error; please report it with the lines above.")
    assert not chaos._OURS.search("error: tune: stopped by a signal; run it again.")
