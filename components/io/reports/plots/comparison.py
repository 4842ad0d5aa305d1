"""The figure that compares models: accuracy against what an image costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from components.io.reports.plots.canvas import BLUE, saved_figure, shorten


class Point(NamedTuple):
    """A model: its accuracy with its interval, its size in MB, and ms for one image."""

    name: str
    accuracy: float
    low: float
    high: float
    megabytes: float
    milliseconds: float


def comparison(points: Sequence[Point], title: str, path: Path) -> None:
    """Draw accuracy with its interval over the time of one image; names say the size.

    Args:
        points: one for each model.
        title: the finding.
        path: the PNG to write.
    """
    with saved_figure(path, 7, 4.2, title) as figure:
        axes = figure.subplots()
        for point in points:
            below, above = point.accuracy - point.low, point.high - point.accuracy
            axes.errorbar(
                point.milliseconds,
                point.accuracy,
                yerr=[[below], [above]],
                fmt="o",
                color=BLUE,
                capsize=3,
            )
            label = f"{shorten(point.name, 24)} ({point.megabytes:.0f} MB)"
            axes.annotate(
                label, (point.milliseconds, point.accuracy), (6, 4), textcoords="offset points"
            )
        axes.set_xscale("log")
        # The times themselves: the powers of ten of a log scale are formulas, which are off.
        times = [point.milliseconds for point in points]
        axes.set_xticks(times, [f"{time:.1f}" for time in times])
        axes.minorticks_off()
        axes.margins(x=0.35)
        axes.set(xlabel="ms for one image, from file to probabilities", ylabel="accuracy on val")
