import time

import pytest

from pipeline.deadline import call_with_timeout


def test_what_ends_in_time_is_returned_or_raised_as_it_is() -> None:
    assert call_with_timeout(5, lambda: "result") == "result"
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(5, lambda: 1 / 0)


def test_what_is_late_is_not_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        call_with_timeout(0.05, lambda: time.sleep(5))
    assert time.monotonic() - started < 2
