"""How long a person waits for the first answer of `python -m pipeline predict`.

Run: python -m bench.predict_start IMAGE [--project FOLDER] [--rounds 5]

In a project that has a champion. Prints the median over the rounds of the time from the launch to
the first line of the answer, and of the processor time of the whole command, which neighbors on the
machine disturb less. A first round, not counted, brings the files into the memory of the system.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path


def measure(image: Path, project: Path) -> tuple[float, float]:
    """Seconds to the first line of the answer, and processor seconds of the whole command.

    Args:
        image: to predict.
        project: whose champion predicts.

    Raises:
        CalledProcessError: there was no answer.
    """
    words = [sys.executable, "-m", "pipeline", "predict", str(image)]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    earlier, started = _processor_seconds(), time.monotonic()
    with subprocess.Popen(  # noqa: S603
        words, cwd=project, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        answer = process.stdout.readline()
        seconds = time.monotonic() - started
        process.stdout.read()
    if process.returncode or not answer:
        raise subprocess.CalledProcessError(process.returncode, words)
    return seconds, _processor_seconds() - earlier


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("image", type=Path, help="to predict")
    parser.add_argument("--project", type=Path, default=Path(), help="with a champion")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    image, project = given.image.absolute(), given.project.absolute()
    measure(image, project)
    rounds = [measure(image, project) for _ in range(given.rounds)]
    seconds, processor = (statistics.median(column) for column in zip(*rounds, strict=True))
    each = ", ".join(f"{found:.2f}" for found, _ in rounds)
    print(f"first answer after {seconds:.2f} s ({each}); {processor:.2f} s of processor time")


if __name__ == "__main__":
    main()
