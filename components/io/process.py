"""This process: its memory, threads, kernels and signals, and the hardware that it runs on."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import sys
from collections.abc import Iterator
from importlib import import_module
from types import FrameType, ModuleType
from typing import Any

from components.io.data.cpus import cgroup_quota, usable_cpus

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

# Turns of the loop in which an idle thread waits before it sleeps; libgomp's default is 300,000.
_SPINS = 1_000


def configure() -> None:
    """Set up memory, threads and imports; call it before torch is imported."""
    keep_freed_memory()
    limit_openmp_spin()
    limit_threads()
    skip_compiler()


def limit_threads() -> None:
    """Start as many threads as the control group may use, unless OMP_NUM_THREADS is set.

    torch asks for affinity only: on a node of 64 cores a pod with a limit of 4 would start 64
    threads, which take turns.
    """
    if cgroup_quota() < math.inf:
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cpus()))


def limit_openmp_spin() -> None:
    """Let idle OpenMP threads sleep soon, unless GOMP_SPINCOUNT is set.

    Threads that spin while they wait for each other cost nothing on an idle machine and half the
    speed when another process wants the cores: two trainings side by side on 2 cores ran at 54
    images/s each instead of 29, one alone at 108 in both cases (64 px, 2026-11-22).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))


def keep_freed_memory() -> None:
    """Keep freed memory mapped; does nothing without glibc.

    A training step frees and allocates gigabytes; glibc gives every block over 32 MiB back to the
    system and pays page faults to get it again. bench/training.py measures the difference.
    """
    # No such symbol: another C library.
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_TOP_PAD, 64 << 20)


class _StandIn(ModuleType):
    """A module of torch's compiler, until somebody asks for more than eager code does."""

    def __getattr__(self, name: str) -> Any:
        is_package = self.__name__ == "torch._dynamo"
        if name.startswith("__") and not (is_package and name == "__path__"):
            raise AttributeError(name)  # asked of every module
        for module in [name for name, each in sys.modules.items() if isinstance(each, _StandIn)]:
            del sys.modules[module]
        return getattr(import_module(self.__name__), name)


def skip_compiler() -> None:
    """Keep torch.compile's 900 modules out of a process that does not compile.

    Every optimizer imports torch._dynamo, and so does torchvision; that takes half as long as torch
    itself. Whoever does compile still can: the stand-ins make room for the modules themselves.
    """
    if "torch._dynamo" in sys.modules:
        return
    dynamo, utils = _StandIn("torch._dynamo"), _StandIn("torch._dynamo.utils")
    vars(dynamo).update(graph_break=lambda: None, disable=lambda function, *_, **__: function)
    vars(utils).update(is_compile_supported=lambda _device: False)
    sys.modules |= {module.__name__: module for module in (dynamo, utils)}


def choose_kernels(*, deterministic: bool) -> None:
    """Ask torch for kernels that give equal bits in equal circumstances, or else for the fastest.

    Tensors are not filled before they are written, as torch would do from here on: that guards only
    against reading what nobody wrote, and costs a seventh of the speed.
    """
    # Must be set before CUDA starts; cuBLAS needs it to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.backends.cudnn.benchmark = not deterministic  # tries the kernels and keeps the fastest
    torch.backends.cudnn.deterministic = deterministic
    mode = "warn" if deterministic else "default"
    torch.set_deterministic_debug_mode(mode)  # use_deterministic_algorithms imports the compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def hardware_facts(device: str) -> dict[str, str]:
    """What numbers depend on besides inputs and code: versions, device, threads.

    Args:
        device: cpu or cuda.
    """
    import platform

    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "torch": str(torch.__version__),
        "device": f"{device} ({name})",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
    }


class Stop:
    """Whether a signal asked for a stop, and which.

    Attributes:
        signal_number: of the first signal; 0 = none yet.
    """

    def __init__(self) -> None:
        self.signal_number = 0

    def __bool__(self) -> bool:
        return self.signal_number != 0

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_number:  # asked twice: do not wait for the batch to end
            raise KeyboardInterrupt
        self.signal_number = number


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a flag; a second one interrupts at once."""
    stop = Stop()
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop._note) for number in handled}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
