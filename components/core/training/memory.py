"""Memory that runs out: how it is recognized, freed and told."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from components.core.errors import OutOfMemory

# What PyTorch's allocators, the C++ library and oneDNN say; there is one type only for CUDA's.
_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "could not create a primitive",
    "_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a CPU or a GPU.

    A process that the kernel kills for memory, as it does in a container over its limit, is not
    asked: nothing is raised there.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


def reason(error: BaseException) -> str:
    """What the allocator said, short and in one line."""
    text = str(error).rpartition("err == 0. ")[-1]  # of its own check
    return " ".join(text.split())[:120] or type(error).__name__


def release(device: str) -> None:
    """Free what nobody refers to any more, also what PyTorch keeps for later."""
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()


@contextmanager
def told(image_size: int) -> Iterator[None]:
    """Raise `OutOfMemory`, one line, for an allocation that fails inside.

    Args:
        image_size: side of the images, pixels.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"training: out of memory at {image_size} px ({reason(error)}); use smaller images or "
            "a smaller model.architecture, or give the process more memory."
        ) from error
