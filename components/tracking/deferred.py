"""A run that is opened beside other work: importing MLflow takes as long as importing PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

from components.tracking.runs import Run


class DeferredRun:
    """A run that a thread opens once it is told to start."""

    def __init__(self, start: Callable[[], Future[Run]]) -> None:
        self._start = start
        self._opening: Future[Run] | None = None

    def advance(self) -> None:
        """Begin to open it, or raise what opening it raised; never waits."""
        if self._opening is None:
            self._opening = self._start()
        elif self._opening.done():
            self._opening.result()

    def get(self) -> Run:
        """The open run; waits for it."""
        self.advance()
        assert self._opening is not None
        return self._opening.result()


@contextmanager
def opened_aside(opened: AbstractContextManager[Run]) -> Iterator[DeferredRun]:
    """Open a run in a thread, from the first `advance` on; it ends here as it would by itself.

    Args:
        opened: of `open_run`, not entered.
    """
    with ExitStack() as stack, ThreadPoolExecutor(1, "tracking") as thread:
        deferred = DeferredRun(lambda: thread.submit(stack.enter_context, opened))
        try:
            yield deferred
        except Exception:
            with suppress(Exception):  # the error at hand matters more
                deferred.get()  # so that the run says how it ended
            raise
        deferred.get()
