"""A timeout for calls that have none of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def call_with_timeout(seconds: float, action: Callable[[], T]) -> T:
    """What `action` returns or raises, if it does so in time.

    It runs in a thread of its own. A late one goes on in the background, and ends with the process.

    Raises:
        TimeoutError: it is not done after `seconds`.
    """
    result: Future[T] = Future()

    def act() -> None:
        try:
            result.set_result(action())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            result.set_exception(error)

    threading.Thread(target=act, daemon=True).start()
    return result.result(timeout=seconds)
