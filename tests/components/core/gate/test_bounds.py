import math

from components.core.gate.bounds import at_least, at_most, percent


def test_a_near_miss_is_shown_with_enough_digits() -> None:
    below = at_least("recall", 0.6999, 0.7, "it is", "(so many)")
    assert below.message == "it is 0.6999 (so many); at least 0.7000 is required"
    assert below.threshold == ">= 0.7000"
    assert below.status == "fail"
    closest = at_least("recall", math.nextafter(0.7, 0), 0.7, "it is")
    assert closest.message == "it is 0.700000000; at least 0.700000000 is required"
    assert (
        at_least("recall", 0.7, 0.7, "it is").message == "it is 0.700; at least 0.700 is required"
    )


def test_a_bound_from_above_has_its_unit_and_may_be_missing() -> None:
    assert at_most("size", 44.8, 40, "it has", "MB").message == (
        "it has 44.800 MB; at most 40.000 is allowed"
    )
    free = at_most("size", 44.8, None, "it has", "MB")
    assert (free.status, free.threshold) == ("skipped", "no bound")
    assert free.message == "it has 44.800 MB; no bound is set"
    assert at_most("size", 0.0, 0.0, "it has").status == "pass"


def test_a_share_is_shown_as_percent() -> None:
    assert [percent(s) for s in (0.95, 0.975, 0.9999)] == ["95 %", "97.5 %", "99.99 %"]
