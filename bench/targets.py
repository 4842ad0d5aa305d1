"""The targets, and how far the measured figures are from them: one line each."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

Results = Mapping[str, Any]

BF16_RATE, FP32_RATE = 2.4, 1.4  # against the plain script


@dataclass(frozen=True)
class Line:
    """One target: what, how much, what was measured, whether that is enough, and what was tried.

    `passed` is None where nothing was measured.
    """

    key: str
    what: str
    target: str
    measured: str = "not measured"
    passed: bool | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """As the page shows it."""
        return {True: "pass", False: "**fail**", None: "-"}[self.passed]


def lines(suite: Results, growth: Results, notes: Results) -> list[Line]:
    """All targets.

    Args:
        suite: of bench.suite.
        growth: of bench.growth; may be empty.
        notes: key -> note, and measured and passed of what is measured elsewhere.
    """
    found = [*_training(suite), *_validation(suite), *_commands(suite), *_growth(growth)]
    found += [
        Line("tuning", "images to the best trial's val loss, with and without pruning", "<= 0.7"),
        Line("demo", "the sample's demo: accuracy over 3 seeds; time against before", ">=; <= 0.8"),
    ]
    return [replace(line, **notes.get(line.key, {})) for line in found]


def ratios(suite: Results, figure: str, side: str, other: str) -> list[float]:
    """Of a figure of two sides, round by round."""
    ones, others = (suite["training"].get(name, []) for name in (side, other))
    return [one[figure] / two[figure] for one, two in zip(ones, others, strict=False)]


def _line(
    key: str,
    what: str,
    found: Sequence[float],
    *,
    least: float | None = None,
    most: float | None = None,
    unit: str = "",
) -> Line:
    """A line about the median of what was found in each round."""
    assert (least is None) != (most is None)
    bound = f">= {least:g}{unit}" if least is not None else f"<= {most:g}{unit}"
    if not found:
        return Line(key, what, bound)
    middle = statistics.median(found)
    passed = middle >= least if least is not None else middle <= (most or 0.0)
    spread = f"{min(found):.2f} to {max(found):.2f}"
    measured = f"{middle:.2f}{unit} ({spread})" if len(found) > 1 else f"{middle:.2f}{unit}"
    return Line(key, what, bound, measured, passed)


def _training(suite: Results) -> Iterator[Line]:
    rate = BF16_RATE if suite["settings"]["precision"] == "bf16" else FP32_RATE
    peer = {"train.py": "timm's train.py", "parts": "timm's parts"}.get(
        suite["settings"]["timm"], "timm"
    )
    ours = suite["training"].get("ours", [])

    def against(figure: str, other: str) -> list[float]:
        return ratios(suite, figure, "ours", other)

    yield _line(
        "plain", "training images/s against the plain script", against("rate", "plain"), least=rate
    )
    yield _line("timm", f"the same against {peer}", against("rate", "timm"), least=1.15)
    yield _line(
        "limit", "the same against the limit in memory", against("rate", "limit"), least=0.95
    )
    yield _line("whole", f"whole process against {peer}", against("seconds", "timm"), most=0.85)
    yield _line(
        "start",
        "launch to first batch against the plain script",
        against("first_batch", "plain"),
        most=0.9,
    )
    after = [run["after_last_step"] for run in ours]
    yield _line("end", "after the last step", after, most=3, unit=" s")
    yield _line(
        "memory", "peak memory against the plain script", against("peak_mib", "plain"), most=0.75
    )


def _validation(suite: Results) -> Iterator[Line]:
    rounds = suite["validation"]
    first = [each["first"] / each["plain"] for each in rounds]
    again = [each["again"] / each["first"] for each in rounds]
    yield _line("validate", "validate, images/s against Pillow, a thread a core", first, least=0.9)
    yield _line("again", "validate, unchanged bytes against the first run", again, least=10)


def _commands(suite: Results) -> Iterator[Line]:
    pipeline, seconds = suite["pipeline"], suite["commands"]
    busy = pipeline.get("training", 0) + pipeline.get("decoding", 0)
    share = [1 - busy / pipeline["seconds"]] if pipeline else []
    what = "share of `dvc repro` on the sample that neither trains nor decodes"
    yield _line("share", what, share, most=0.15)
    nothing = seconds.get("dvc repro", [])
    yield _line("nothing", "`dvc repro` with nothing to do", nothing, most=3, unit=" s")
    base = seconds.get("import mlflow", [])
    for command in ("status", "history", "--help"):
        found = [one / two for one, two in zip(seconds.get(command, []), base, strict=False)]
        yield _line(command, f"`{command}` against `import mlflow`", found, most=1.3)


def _growth(growth: Results) -> Iterator[Line]:
    for step in ("validate", "train"):
        runs = [(each["images"], each[step]) for each in growth.get("sets", []) if step in each]
        runs.sort(key=lambda run: int(run[0]))
        # Seconds that a further image takes, from each size to the next: the start is no part.
        slopes = [
            (more["seconds"] - less["seconds"]) / (many - few)
            for (few, less), (many, more) in pairwise(runs)
        ]
        change = [max(slopes) / min(slopes) - 1] if len(slopes) > 1 else []
        what = f"{step} from 1,000 to 50,000 images: "
        yield _line(f"{step}-time", f"{what}seconds a further image", change, most=0.15)
        peaks = [run["peak_mib"] for _, run in runs]
        change = [max(peaks) / min(peaks) - 1] if len(peaks) > 2 else []
        yield _line(f"{step}-memory", f"{what}memory without mapped files", change, most=0.2)
