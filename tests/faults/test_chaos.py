"""What chaos does follows from the seed, and it does all that it can."""

import random
import re

from tests.faults import chaos
from tests.test_end_to_end import STEPS


def plan(seed: int, step: str, count: int = 300) -> list[str]:
    rng = random.Random(seed)
    return [str(chaos.draw(rng, step)) for _ in range(count)]


def test_equal_seeds_hurt_alike_and_others_do_not() -> None:
    for step in STEPS:
        assert plan(1, step) == plan(1, step)
        assert plan(1, step) != plan(2, step)


def test_every_kind_of_fault_happens_to_steps_that_talk_to_mlflow() -> None:
    kinds = {re.split(r" at | \(|, ", words.replace("request at 0% (", ""))[0]
             for words in plan(3, "train")}  # fmt: skip
    assert {word.split()[0] for word in kinds} == {
        "kill", "terminate", "interrupt", "restart", "drop", "cut", "status", "refuse", "latency",
    }  # fmt: skip


def test_validate_is_only_stopped() -> None:
    assert {words.split()[0] for words in plan(4, "validate")} == {"kill", "terminate", "interrupt"}


def test_a_traceback_is_not_our_word_and_an_error_line_is() -> None:
    assert chaos._OURS.search("tune: internal error; please report it with the lines above.")
    assert not chaos._OURS.search("error: tune: stopped by a signal; run it again.")
