"""The figure that explains one prediction: the image, where the network looked, its neighbors."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.io.reports.plots.canvas import GRAY, saved_figure, shorten

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Panel(NamedTuple):
    """An image of the figure: (S, S, 3) uint8, with two lines below it."""

    pixels: NDArray[np.uint8]
    title: str
    note: str


def explanation(panels: Sequence[Panel], title: str, caution: str, path: Path) -> None:
    """Draw the panels side by side.

    Args:
        panels: the image, its heat map, then its neighbors.
        title: the finding.
        caution: what the figure does not show.
        path: the PNG to write.
    """
    width = max(6.0, 1.75 * len(panels))
    with saved_figure(path, width, 2.8, title) as figure:
        for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
            axes.imshow(panel.pixels)
            axes.set_title(shorten(panel.title, 24), fontsize=8)
            note = textwrap.fill(shorten(panel.note, 48), 24)
            axes.set_xlabel(note, fontsize=6.5, color=GRAY)
            axes.set(xticks=[], yticks=[])
            axes.spines[["left", "bottom"]].set_visible(False)
        figure.supxlabel(caution, fontsize=7, color=GRAY)
