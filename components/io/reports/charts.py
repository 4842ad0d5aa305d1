"""Charts as inline SVG: they follow the colors of the page, in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

Point = tuple[float, float]

_WIDTH, _HEIGHT = 520.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 10.0, 38.0
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: in the legend; without one it has no entry there.
        points: (x, y), by x.
        color: class of base.html: one, two, three, or soft.
        style: solid, dashed, or dots for points alone.
    """

    name: str
    points: Sequence[Point]
    color: str = "one"
    style: str = "solid"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over one pair of axes.

    Attributes:
        title: the finding, also read aloud in the chart's place.
        lines: at least one has a point.
        x_label: of the axis below.
        y_label: of the axis at the left.
        marks: x of an upright line -> what it says.
        x_range: ends of the axis; None = those of the points.
        y_range: ends of the axis; None = those of the points.
        whole_x: x counts something, so that ticks are whole numbers.
    """

    title: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    marks: dict[float, str] = field(default_factory=dict)
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    whole_x: bool = False

    def __html__(self) -> str:
        """The chart with its legend; a template shows it as it is."""
        return str(_draw(self))


def _draw(chart: Chart) -> Markup:
    from markupsafe import Markup, escape

    x_range = chart.x_range or _range([x for line in chart.lines for x, _ in line.points])
    y_range = chart.y_range or _range([y for line in chart.lines for _, y in line.points])
    place = _Place(x_range, y_range)
    parts = [*_axes(chart, place)]
    parts += [_line(line, place) for line in chart.lines if line.points]
    for at, text in chart.marks.items():
        x = place.x(at)
        side = ' text-anchor="end" dx="-8"' if x > _WIDTH / 2 else ""
        parts.append(
            f'<path class="mark" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
            f'<text x="{x + 4:.1f}" y="{_TOP + 10}"{side}>{escape(text)}</text>'
        )
    keys = [
        f'<span class="key"><i class="{line.color}"></i>{escape(line.name)}</span>'
        for line in chart.lines
        if line.name
    ]
    legend = f"<p>{' '.join(keys)}</p>" if keys else ""
    return Markup(  # noqa: S704 - every text in it is escaped above
        f'<figure class="chart"><figcaption>{escape(chart.title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(chart.title)}">{"".join(parts)}</svg>'
        f"{legend}</figure>"
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value with a little air; never of no length."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.04 * (high - low) or 0.5
    return low - air, high + air


@dataclass(frozen=True)
class _Place:
    """From values to places in the drawing."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        height = _HEIGHT - _TOP - _BOTTOM
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return _TOP + (1 - share) * height


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round values between both ends, about five of them."""
    step = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= _TICKS + 1)
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(chart: Chart, place: _Place) -> list[str]:
    from markupsafe import escape

    bottom = _HEIGHT - _BOTTOM
    parts = []
    for value in ticks(*place.y_range):
        y = place.y(value)
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in ticks(*place.x_range, whole=chart.whole_x):
        at = f'x="{place.x(value):.1f}" y="{bottom + 16}" text-anchor="middle"'
        parts += [f"<text {at}>{value:g}</text>"]
    across = f'x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}"'
    upright = f'transform="translate(12 {(_TOP + bottom) / 2}) rotate(-90)"'
    return [
        *parts,
        f'<text {across} text-anchor="middle">{escape(chart.x_label)}</text>',
        f'<text {upright} text-anchor="middle">{escape(chart.y_label)}</text>',
    ]


def _line(line: Line, place: _Place) -> str:
    places = [(place.x(x), place.y(y)) for x, y in line.points]
    if line.style == "dots" or len(places) == 1:
        dots = [
            f'<circle class="{line.color}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places
        ]
        return "".join(dots)
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return f'<path class="line {line.color} {line.style}" d="M{path}"/>'


def share_bar(value: float, low: float, high: float, other: float | None, words: str) -> Markup:
    """A share as a bar with its interval, and another share as a mark.

    Args:
        value: 0 to 1, as all others.
        low: lower end of the interval.
        high: upper end of the interval.
        other: what it is compared with; None = nothing.
        words: the same, read aloud.
    """
    from markupsafe import Markup, escape

    mark = "" if other is None else f'<path class="other" d="M{100 * other:.1f} 0V12"/>'
    return Markup(  # noqa: S704 - the one text in it is escaped
        f'<svg class="share" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(words)}"><rect class="whole" width="100" height="12"/>'
        f'<rect class="one" y="2" width="{100 * value:.1f}" height="8"/>'
        f'<path class="interval" d="M{100 * low:.1f} 6H{100 * high:.1f}"/>{mark}</svg>'
    )
