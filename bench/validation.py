"""Validation throughput: the scan of this project against a plain Pillow loop on the same threads.

Run: python -m bench.validation [--images FOLDER] [--rounds 3]

`plain` reads, hashes and decodes each file, one thread per core. `first` is the scan of validate
without its cache of known bytes: it also hashes the pixels, computes the fingerprint and
applies the one conversion. `again` is the scan of unchanged bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

SIDES = ("plain", "first", "again")


def plain(images: Path) -> int:
    """Read, SHA-256, full decode to RGB; the number of images."""
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


def measure(images: Path) -> dict[str, float]:
    """Images per second of each side, once each, in turn."""
    from components import validate
    from components.io import params
    from components.io.data import recorded
    from components.io.data.scan import scan

    decode_params = params.load(Path("params.yaml"), validate.Params).data.decode_params
    with tempfile.TemporaryDirectory() as folder:

        def run_scan() -> int:
            md5s = recorded.read(images).md5s
            found = scan(images, exclude=[], params=decode_params, cache=Path(folder), md5s=md5s)
            return len(found.files)

        runs = (lambda: plain(images), run_scan, run_scan)
        return {side: _rate(run) for side, run in zip(SIDES, runs, strict=True)}


def _rate(action: Callable[[], int]) -> float:
    started = time.perf_counter()
    count = action()
    return count / (time.perf_counter() - started)


def main() -> None:
    """Print medians, and what they come from as one line of JSON."""
    parser = argparse.ArgumentParser(description="Validation throughput.")
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    plain(options.images)  # the files are in memory, and Pillow is imported, for all sides
    rounds = [measure(options.images) for _ in range(options.rounds)]
    for side in SIDES:
        print(f"{side:<6} median {statistics.median(r[side] for r in rounds):8,.0f} images/s")
    print(json.dumps(rounds))


if __name__ == "__main__":
    main()
