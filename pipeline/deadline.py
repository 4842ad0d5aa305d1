"""An end to the wait for calls that have none of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, action: Callable[[], T]) -> T:
    """What `action` returns or raises, if it does so in time.

    It runs in a thread of its own. One that is late goes on unseen, and ends with the process.

    Raises:
        TimeoutError: it is not done after `seconds`.
    """
    answer: Future[T] = Future()

    def act() -> None:
        try:
            answer.set_result(action())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            answer.set_exception(error)

    threading.Thread(target=act, daemon=True).start()
    return answer.result(timeout=seconds)
