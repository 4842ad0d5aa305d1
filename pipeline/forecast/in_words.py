"""Durations and sizes, as a person would say them."""

from __future__ import annotations

from collections.abc import Sequence

from components.io.data.cpus import usable_cpus
from pipeline import busy_cores
from pipeline.forecast import costs
from pipeline.forecast.costs import Span, StepCost


def summary(steps: Sequence[StepCost]) -> str:
    """The whole run, then each step, in one line."""
    whole = costs.total(steps)
    each = ", ".join(f"{cost.step} {_step(cost)}" for cost in steps)
    return f"about {span(whole.seconds)} and {memory(whole.mib)} on this machine: {each}"


def _step(cost: StepCost) -> str:
    epochs = f" ({cost.epochs[0]} to {cost.epochs[1]} epochs)" if cost.epochs else ""
    return f"{span(cost.seconds)} {memory(cost.mib)}{epochs}"


def beside(busy: float) -> str:
    """What busy neighbors add to a line; empty without any.

    Args:
        busy: cores that others keep busy.
    """
    cpus = usable_cpus()
    if busy < busy_cores.NOTICEABLE:
        return ""
    factor = busy_cores.slowdown(busy)
    return f"; {busy:.1f} of {cpus} cores are busy: up to {factor:.1f} times as long"


def span(seconds: Span) -> str:
    """One duration where both ends look alike, else "45 s to 1:30 min" or "2 to 4 h"."""
    low, high = duration(seconds.low), duration(seconds.high)
    if low == high:
        return low
    unit = high.rpartition(" ")[2]
    return f"{low.removesuffix(f' {unit}')} to {high}"


def duration(seconds: float) -> str:
    """9 s, 85 s, 2:05 min, 14 min, 2.5 h."""
    if seconds < 20:
        return f"{seconds:.0f} s"
    rounded = 5 * round(seconds / 5)
    if rounded < 90:
        return f"{rounded} s"
    if rounded < 600:
        return f"{rounded // 60}:{rounded % 60:02} min"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def memory(mib: float) -> str:
    """MiB, or GiB from 1 on."""
    return f"{mib / 1024:.1f} GiB" if mib >= 1019 else f"{10 * round(mib / 10)} MiB"
