import threading

import pytest

from pipeline.deadline import call_with_timeout


def test_what_ends_in_time_is_returned_or_raised_as_it_is() -> None:
    assert call_with_timeout(60, lambda: "result") == "result"
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(60, lambda: 1 / 0)


def test_what_is_late_is_not_waited_for() -> None:
    released, ended = threading.Event(), threading.Event()

    def late() -> None:
        released.wait(60)
        ended.set()

    with pytest.raises(TimeoutError):
        call_with_timeout(0.05, late)
    assert not ended.is_set()
    released.set()
    assert ended.wait(60)  # it went on in the background
