"""Validation throughput: the scan of this project against a plain Pillow loop on the same threads.

Run: python -m bench.validation [--rounds 3]

`plain` reads, hashes and decodes each file, one thread per core. `first` is the scan of validate
without its cache of known bytes: it also hashes the pixels, computes the fingerprint and
applies the one conversion. `again` is the scan of unchanged bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path


def plain(images: Path) -> int:
    """Read, SHA-256, full decode to RGB."""
    from PIL import Image

    def check(path: Path) -> None:
        content = path.read_bytes()
        hashlib.sha256(content).hexdigest()
        with Image.open(BytesIO(content)) as image:
            image.convert("RGB")

    paths = [path for path in images.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, paths))
    return len(paths)


def main() -> None:
    """Measure the three in turn and print medians."""
    from components import validate
    from components.io import params
    from components.io.data.scan import scan

    parser = argparse.ArgumentParser(description="Validation throughput.")
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    decode_params = params.load(Path("params.yaml"), validate.Params).data.decode_params
    rates: dict[str, list[float]] = {"plain": [], "first": [], "again": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:

            def run_scan(cache: Path = Path(folder)) -> int:
                found = scan(options.images, exclude=[], params=decode_params, cache=cache)
                return len(found.files)

            rates["plain"].append(_rate(lambda: plain(options.images)))
            rates["first"].append(_rate(run_scan))
            rates["again"].append(_rate(run_scan))
    for side, found in rates.items():
        shown = ", ".join(f"{rate:,.0f}" for rate in found)
        print(f"{side:<6} median {statistics.median(found):8,.0f} images/s ({shown})")


def _rate(action: Callable[[], int]) -> float:
    started = time.perf_counter()
    count = action()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
