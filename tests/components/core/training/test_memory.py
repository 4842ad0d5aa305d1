"""Memory that runs out, in the words of the allocators that this machine has."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from components.core.errors import OutOfMemory
from components.core.training import memory

TOO_MANY = 1 << 60  # bytes: no address space holds them


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(TOO_MANY, dtype=torch.uint8),
        lambda: np.empty(TOO_MANY, dtype=np.uint8),
        lambda: bytearray(TOO_MANY),
    ],
)
def test_an_allocation_that_really_fails_is_recognized(allocate: Callable[[], object]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as failed:
        allocate()
    assert memory.is_out_of_memory(failed.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("could not create a primitive"),  # oneDNN, for want of memory
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_what_libraries_say_of_it_is_recognized(error: Exception) -> None:
    assert memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x3 and 8x2)"),
        ValueError("out of memory"),  # nobody's words for it
    ],
)
def test_other_errors_are_not(error: Exception) -> None:
    assert not memory.is_out_of_memory(error)


def test_it_is_told_in_one_line_that_says_what_to_do() -> None:
    with pytest.raises(OutOfMemory) as told, memory.told(512):
        torch.empty(TOO_MANY, dtype=torch.uint8)
    text = str(told.value)
    assert text.startswith("training: out of memory at 512 px (")
    assert "can't allocate memory" in text
    assert "use smaller images or a smaller model.architecture" in text
    assert "\n" not in text


def test_an_error_without_words_has_its_name() -> None:
    with pytest.raises(OutOfMemory, match=r"\(MemoryError\)"), memory.told(32):
        raise MemoryError


def test_another_error_stays_itself() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.told(32):
        torch.ones(2, 3) @ torch.ones(2, 3)


class Loop:
    """An object in a reference cycle."""

    def __init__(self, freed: list[int]) -> None:
        self.itself, self.freed = self, freed

    def __del__(self) -> None:
        self.freed.append(1)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_nobody_refers_to_is_freed(device: str) -> None:
    freed: list[int] = []
    Loop(freed)
    memory.release(device)
    assert freed == [1]
