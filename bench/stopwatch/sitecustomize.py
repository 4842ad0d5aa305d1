"""Python imports this at its start, in every process that has this folder in PYTHONPATH.

It notes, by the wall clock, when the first batch enters a network and when each step of an
optimizer ends, and adds up the time inside some functions of this project. What it noted is
appended, as one line of JSON, to the file that BENCH_EVENTS names. The programs themselves stay
as they are.
"""

import atexit
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

# What happens in a process: time of the first batch, end of each step, seconds inside functions.
first_batch: list[float] = []
steps: list[float] = []
seconds: dict[str, float] = {}


def _watch_steps(module: Any) -> None:
    module.register_optimizer_step_post_hook(lambda *_: steps.append(time.time()))


def _watch_networks(module: Any) -> None:
    def note(*_: object) -> None:
        first_batch.append(time.time())
        handle.remove()

    handle = module.register_module_forward_pre_hook(note)


def _time_calls(module: Any, name: str) -> None:
    """Add up the time inside a function."""
    function: Callable[..., Any] = getattr(module, name)

    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.time() - started

    setattr(module, name, timed)


def _time_generator(module: Any, name: str) -> None:
    """Add up the time that a generator takes for its values; not what is done with them."""
    function: Callable[..., Any] = getattr(module, name)

    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Iterator[Any]:
        values = function(*args, **kwargs)
        while True:
            started = time.time()
            try:
                value = next(values)
            except StopIteration:
                return
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.time() - started
            yield value

    setattr(module, name, timed)


# Module -> what to do once it is imported.
_HOOKS: dict[str, Callable[[Any], None]] = {
    "torch.optim.optimizer": _watch_steps,
    "torch.nn.modules.module": _watch_networks,
    "components.core.training.loop": lambda module: _time_generator(module, "fit"),
    "components.io.data.pixel_cache": lambda module: _time_calls(module, "open_pixels"),
    "components.io.data.scan": lambda module: _time_calls(module, "scan"),
}


class _Finder:
    """Finds a module where the others find it, and runs its hook when it is loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """As the import system asks for it."""
        hook = _HOOKS.get(name)
        if hook is None:
            return None
        finders = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in finders)
        spec = next(filter(None, found), None)
        loader: Any = spec and spec.loader
        if loader is not None:
            load = loader.exec_module

            def load_and_hook(module: Any) -> None:
                load(module)
                hook(module)

            loader.exec_module = load_and_hook
        return spec


def _write(path: str) -> None:
    if not (first_batch or seconds):
        return
    noted = {"first_batch": first_batch[:1], "steps": steps, "seconds": seconds}
    with open(path, "a") as file:  # noqa: PTH123 - pathlib would be one more import of each process
        file.write(json.dumps({"words": sys.argv, **noted}) + "\n")


if _EVENTS := os.environ.get("BENCH_EVENTS"):
    sys.meta_path.insert(0, _Finder())
    atexit.register(_write, _EVENTS)
