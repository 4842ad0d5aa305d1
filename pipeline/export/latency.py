"""How long one image takes in each form of a model, measured in turn on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.export.card import Precision
from pipeline.export.onnx_file import open_session

if TYPE_CHECKING:
    from torch import nn

_ROUNDS, _WARM_UP = 50, 5


class Times(NamedTuple):
    """From pixels to probabilities, milliseconds."""

    p50_ms: float
    p95_ms: float


def time_in_turn(
    network: nn.Module, paths: Mapping[Precision, Path], size: int
) -> dict[str, Times]:
    """Times of the files, by their keys, and of the network itself, as `eager`.

    They take turns, so that whatever else the machine does slows all of them alike.

    Args:
        network: complete: takes pixels and gives probabilities.
        paths: ONNX files of it.
        size: S, of the square input.
    """
    import torch

    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    calls: dict[str, Callable[[], object]] = {"eager": lambda: network(torch.from_numpy(image))}
    for name, path in paths.items():
        run = open_session(path, threads=1).run
        calls[name] = lambda run=run: run(None, {"pixels": image})  # type: ignore[misc]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            rounds = [[_milliseconds(call) for call in calls.values()] for _ in range(_ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    p50, p95 = np.percentile(rounds[_WARM_UP:], [50, 95], axis=0).tolist()
    return {name: Times(*times) for name, *times in zip(calls, p50, p95, strict=True)}


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)
