"""A GPU's figures: speed beside a plain script and the limit, memory by batch size, latency.

Run: python -m bench.gpu [--device cuda] [--rounds 3] [--quick]

Images lie in memory for all sides, 224 px, ResNet-18: ours is `core.training.loop.fit`, plain is
fp32 in NCHW without any setting, limit is one batch that stays on the device. Each runs in a
process of its own, in turn. Results go to docs/performance/gpu.json. --device cpu --quick is a
test of this code.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine, suite
from bench.processes import ROOT

RESULTS = ROOT / "docs/performance/gpu.json"
SIDES = ("plain", "ours", "limit")
BATCHES = (8, 16, 32, 64, 128)
WARM_UP = 4  # steps

# GPU memory, GiB -> the batch sizes that it should be enough for.
CLAIMS = {4: (8, 16), 8: (32, 64), 16: (64, 128)}
LATENCY_MS = (2.0, 5.0)  # the claim for one image

Result = dict[str, Any]


class Clock:
    """Notes when some steps ended; only there it waits for the device."""

    def __init__(self, device: str, steps: int) -> None:
        self._device, self._watched = device, (1, WARM_UP, steps)
        self.ended: list[float] = []

    def tick(self, done: int) -> None:
        """So many steps were given to the device."""
        if done in self._watched:
            if self._device == "cuda":
                import torch

                torch.cuda.synchronize()
            self.ended.append(time.time())


def train_ours(device: str, batch: int, steps: int, size: int) -> list[float]:
    """When the first step, the last of the warm-up and the last of all ended."""
    from components.core.training.architectures import build_network
    from components.core.training.config import resolve_config
    from components.core.training.loop import LabeledImages, Stopped, fit
    from components.core.training.presets import choose_preset
    from components.io import params
    from components.train import Params

    labels = np.arange(batch * (steps + 1), dtype=np.int64) % 2
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8)
    images = LabeledImages(pixels, labels)
    given = params.load(ROOT / "params.yaml", Params).training
    config = resolve_config(
        given.model_copy(update={"batch_size": batch, "device": device}),
        choose_preset("auto", len(labels), "random"),
        architecture="resnet18",
        learning_rate=1e-3,
        epochs=1,
        early_stopping=50,
        horizontal_flip=True,
        image_size=size,
        labels=labels,
        num_classes=2,
    )
    clock = Clock(device, steps)

    def after_batch(done: int, _total: int) -> bool:
        clock.tick(done)
        return done == steps

    with contextlib.suppress(Stopped):
        next(fit(build_network("resnet18", 2), images, images, config, after_batch=after_batch))
    return clock.ended


def train_simply(side: str, device: str, batch: int, steps: int, size: int) -> list[float]:
    """The same of the plain script, or of the limit."""
    import torch
    from torch.nn import functional

    from components.core.training.architectures import build_network
    from components.core.training.inference import resolve_precision

    fast = side == "limit"
    layout = torch.channels_last if fast else torch.contiguous_format
    precise = not fast or resolve_precision("auto", device, "resnet18") == "fp32"
    network = build_network("resnet18", 2).to(device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=fast or None)
    source = torch.randn(batch, 3, size, size)
    images = source.to(device, memory_format=layout)
    labels = torch.arange(batch, device=device) % 2
    network.train()
    clock = Clock(device, steps)
    for done in range(1, steps + 1):
        inputs = images if fast else source.to(device)
        with torch.autocast(device, torch.bfloat16, enabled=not precise):
            logits = network(inputs)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick(done)
    return clock.ended


def run_side(side: str, device: str, batch: int, steps: int, size: int) -> Result:
    """Train on a side in this process: images/s, seconds to the first step, peak memory."""
    import torch

    from components.io import process

    process.choose_kernels(deterministic=side != "plain")
    if side == "ours":
        ended = train_ours(device, batch, steps, size)
    else:
        ended = train_simply(side, device, batch, steps, size)
    first, warm, last = ended
    peak = torch.cuda.max_memory_reserved() / 2**20 if device == "cuda" else 0.0
    rate = batch * (steps - WARM_UP) / (last - warm)
    return {"rate": rate, "first_step": first, "peak_mib": peak}


def latency(device: str, size: int, images: int) -> Result:
    """Milliseconds of one image, from its pixels in memory to its logits, as evaluate predicts."""
    from components.core.training.architectures import build_network
    from components.core.training.inference import predict_logits

    network = build_network("resnet18", 2)
    pixels = np.zeros((1, size, size, 3), np.uint8)
    seconds = []
    for _ in range(images + WARM_UP):
        started = time.perf_counter()
        predict_logits(network, pixels, device=device)
        seconds.append(time.perf_counter() - started)
    p50, p95 = (float(q) for q in np.percentile(np.array(seconds[WARM_UP:]) * 1e3, (50, 95)))
    return {"p50_ms": p50, "p95_ms": p95}


def _name(device: str) -> str:
    """Of the GPU."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else "none"


def _child(options: argparse.Namespace) -> Result:
    """What a process of its own measures."""
    from components.io import process

    process.configure()
    if options.side == "latency":
        return latency(options.device, options.size, options.steps)
    return run_side(options.side, options.device, options.batch, options.steps, options.size)


def _measure(side: str, options: argparse.Namespace, batch: int) -> Result:
    started = time.time()
    settings = {"--batch": batch, "--steps": options.steps, "--size": options.size}
    words = [str(word) for pair in settings.items() for word in pair]
    command = [sys.executable, "-m", "bench.gpu", "--device", options.device, "--side", side]
    done = subprocess.run(  # noqa: S603
        [*command, *words], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    found: Result = json.loads(done.stdout.splitlines()[-1])
    if "first_step" in found:
        found["first_step"] -= started
    return found


def claim_of(batch: int) -> str:
    """The memory that a batch size is recommended for."""
    least = [memory for memory, sizes in CLAIMS.items() if sizes[0] <= batch <= sizes[1]]
    return f"{least[0]} GB" if least else "-"


def compare(options: argparse.Namespace) -> Result:
    """Run everything."""
    rounds = [{side: _measure(side, options, 32) for side in SIDES} for _ in range(options.rounds)]
    one = _measure("latency", options, 1)
    batches = [
        {"batch": batch, "claim": claim_of(batch), **_measure("ours", options, batch)}
        for batch in options.batches
    ]
    ratio = {
        other: statistics.median(r["ours"]["rate"] / r[other]["rate"] for r in rounds)
        for other in ("plain", "limit")
    }
    first = statistics.median(r["ours"]["first_step"] for r in rounds)
    said = (
        f"{ratio['plain']:.2f} times the plain script's images/s, {ratio['limit']:.2f} of the "
        f"limit; first step after {first:.1f} s; one image {one['p50_ms']:.1f} ms (p95 "
        f"{one['p95_ms']:.1f} ms; {LATENCY_MS[0]:g} to {LATENCY_MS[1]:g} ms is the claim)."
    )
    return {"said": said, "rounds": rounds, "latency": one, "batches": batches}


def main() -> None:
    """Measure, print the summary, keep all of it."""
    parser = argparse.ArgumentParser(description="Speed, memory and latency on a GPU.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--side", choices=(*SIDES, "latency"), help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=32, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.size, options.batches = 1, 8, 32, (8, 16)
    if options.side:
        print(json.dumps(_child(options)))
        return
    facts = {**machine.facts(), "gpu": _name(options.device)}
    found = {"device": options.device, "machine": facts, **compare(options)}
    print(found["said"])
    suite.save(options.results, found)


if __name__ == "__main__":
    main()
