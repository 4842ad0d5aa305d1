"""Signals that stop gently, a heap that stays mapped, and the facts a number depends on."""

import ctypes
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from components.core.training.architectures import build_network
from components.core.training.loop import LabeledImages, fit
from components.io import process
from tests.factories import training_config


def fill_memory(on: bool) -> None:
    """Torch's switch; on is its default."""
    torch.utils.deterministic.fill_uninitialized_memory = on  # type: ignore[attr-defined]


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Leave torch's global switches as they were."""
    before = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    yield
    torch.use_deterministic_algorithms(before)
    fill_memory(True)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_work_goes_on(number: signal.Signals) -> None:
    with process.stop_on_signal() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal_number == number


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_interrupts_at_once(first: signal.Signals) -> None:
    def twice() -> None:
        with process.stop_on_signal():
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()


def test_the_handlers_of_before_come_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with process.stop_on_signal():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before

    def fail() -> None:
        with process.stop_on_signal():
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert [signal.getsignal(number) for number in numbers] == before


class Library:
    """A C library that notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, name: int, value: int) -> int:
        self.asked.append((name, value))
        return 1


def test_the_heap_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    process.keep_freed_memory()
    # M_MMAP_MAX = -4, M_TRIM_THRESHOLD = -1, M_TOP_PAD = -2 in glibc's malloc.h
    assert library.asked == [(-4, 0), (-1, -1), (-2, 64 * 1024 * 1024)]


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def without_mallopt(_name: object) -> Any:
        asked.append("without mallopt")
        return object()

    def nothing(_name: object) -> Any:
        asked.append("nothing")
        raise OSError("no such library")

    for other in (without_mallopt, nothing):
        monkeypatch.setattr(ctypes, "CDLL", other)
        process.keep_freed_memory()
    assert asked == ["without mallopt", "nothing"]


def test_kernels_are_deterministic(deterministic: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    process.choose_kernels(deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_the_fastest_kernels_are_there_for_those_who_want_them(deterministic: None) -> None:
    process.choose_kernels(deterministic=True)
    process.choose_kernels(deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.benchmark


def trained() -> dict[str, torch.Tensor]:
    """Weights of a ResNet after an epoch of two steps, all kinds of kernels in use."""
    labels = np.arange(8, dtype=np.int64) % 2
    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    images = LabeledImages(pixels, labels)
    config = training_config(
        image_size=64, batch_size=4, epochs=1, augmentation="maximum", precision="bf16"
    )
    torch.manual_seed(0)
    network = build_network("resnet18", 2)
    list(fit(network, images, images, config))
    return network.state_dict()


def test_equal_runs_are_equal_though_new_tensors_hold_what_was_there(deterministic: None) -> None:
    fill_memory(True)
    process.choose_kernels(deterministic=True)
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    first = trained()
    # Freed at once: the next run's tensors begin with these values.
    for power in range(8, 24):
        torch.full((1 << power,), float("nan"))
    second = trained()
    fill_memory(True)
    filled = trained()
    for other in (second, filled):
        assert all(torch.equal(first[name], other[name]) for name in first)


_EAGER = """
from components.io import process
process.configure()
process.choose_kernels(deterministic=True)
import sys
import torch
from torch.optim import swa_utils
from components.core.training.architectures import build_network

network = build_network("resnet18", 2)
optimizer = torch.optim.AdamW(network.parameters(), fused=True)
average = swa_utils.AveragedModel(network)
network(torch.ones(2, 3, 32, 32)).sum().backward()
optimizer.step()
average.update_parameters(network)
assert torch.are_deterministic_algorithms_enabled()
assert not {"torch._inductor", "torch._dynamo.symbolic_convert", "sympy"} & set(sys.modules)
"""


@pytest.mark.parametrize(
    "use",
    [
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item() == 2",
        "from torch._dynamo.utils import counters; import torch._dynamo.config",
        "import torch._inductor.config; torch._dynamo.reset()",
    ],
)
def test_a_step_does_not_load_the_compiler_and_can_still_have_it(use: str) -> None:
    code = f"{_EAGER}{use}\nassert 'torch._dynamo.symbolic_convert' in sys.modules\n"
    subprocess.run([sys.executable, "-c", code + "optimizer.step()"], check=True)


def test_facts_name_what_a_number_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process.hardware_facts("cpu") == {
        "torch": str(torch.__version__),
        "device": f"cpu ({platform.machine()})",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
    }
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    assert process.hardware_facts("cuda")["device"] == "cuda (H200)"


def test_idle_threads_sleep_soon_unless_the_environment_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    process.configure()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    process.configure()
    assert os.environ["GOMP_SPINCOUNT"] == "5"
