"""python -m pipeline COMMAND: everything a person types."""

import atexit
import gc
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# New objects between two searches for garbage. At Python's 700 imports set off hundreds of them.
_GC_THRESHOLD = 50_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, or say how to get the environment that it needs."""
    gc.set_threshold(_GC_THRESHOLD)
    atexit.register(_skip_last_search)
    try:
        with _interrupts_end_it():
            from pipeline import cli
            from pipeline.starter import end_with_starter

            end_with_starter()
    except ModuleNotFoundError as error:
        text = f"error: the package {error.name} is not installed for {sys.executable}."
        print(text, "Run `make install`, then `. .venv/bin/activate`.", sep="\n", file=sys.stderr)
        return 1
    return cli.main(argv)


@contextmanager
def _interrupts_end_it() -> Iterator[None]:
    """Until there is somebody who says that the command was interrupted, Ctrl-C just ends it."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _skip_last_search() -> None:
    """Without this Python's end searches all that imports have made: a third of `import mlflow`.

    Not where triton is loaded: it would name each of its objects that is left, in 30 lines.
    """
    if "triton" not in sys.modules:
        gc.freeze()


if __name__ == "__main__":
    raise SystemExit(main())
