"""How long one image takes, alone, as a service would ask for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.artifacts import Latency
from components.core.data.decoding import load_image
from components.core.training import inference

if TYPE_CHECKING:
    from components.io.models import LoadedModel

# Images that are timed, after those that warm up.
_TIMED, _WARM_UP = 50, 5


def time_images(
    loaded: LoadedModel, images: Sequence[Path], *, device: str, machine: str
) -> Latency:
    """Time single images from file bytes to probabilities.

    Args:
        loaded: on `device` already.
        images: at least one file; 50 of them are used, evenly chosen.
        device: where the network is.
        machine: what the numbers depend on, for people.
    """
    chosen = images[:: max(1, len(images) // _TIMED)][:_TIMED]
    contents = [path.read_bytes() for path in chosen]
    for content in (contents * _WARM_UP)[:_WARM_UP]:
        _milliseconds(loaded, content, device)
    times = [_milliseconds(loaded, content, device) for content in contents]
    p50, p95 = np.percentile(times, [50, 95]).tolist()
    return Latency(p50_ms=p50, p95_ms=p95, images=len(times), machine=machine)


def _milliseconds(loaded: LoadedModel, content: bytes, device: str) -> float:
    card = loaded.card
    started = time.perf_counter()
    pixels = np.stack([load_image(content, card.image_size, card.images)])
    logits = inference.predict_logits(loaded.network, pixels, device=device)
    inference.probabilities(logits, card.temperature)
    return 1000 * (time.perf_counter() - started)
