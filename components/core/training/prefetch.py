"""Reading ahead: the next batch is loaded while the device computes on the present one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def prefetch(load: Callable[[K], V], keys: Sequence[K], *, device: str) -> Generator[V, None, None]:
    """`load` of each key, in order; close the generator to stop early.

    On a GPU the next value is loaded in a thread. The CPU's own cores have no time to spare: there
    a thread that decodes images while they compute costs more than it saves.

    Args:
        load: from key to value; what it raises is raised where its value would have come.
        keys: a single one is loaded without a thread.
        device: that computes on the values, cpu or cuda.

    Yields:
        One value per key.
    """
    if device == "cpu" or len(keys) < 2:
        for key in keys:
            yield load(key)
        return
    with ThreadPoolExecutor(1, "prefetch") as thread:
        value = load(keys[0])
        for key in keys[1:]:
            upcoming = thread.submit(load, key)
            yield value
            value = upcoming.result()
        yield value
