"""What every figure has in common: one style, and a PNG that is whole or absent."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.io import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008, "Color universal design": told apart by all common kinds of color vision.
BLUE, ORANGE, RED, GREEN, GRAY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#767676"


def shorten(text: str, limit: int) -> str:
    """Printable text of at most `limit` characters; what is too long loses its middle."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) <= limit:
        return text
    tail = (limit - 3) // 2
    return f"{text[: limit - 3 - tail]}...{text[len(text) - tail :]}"


@contextmanager
def saved_figure(path: Path, width: float, height: float, title: str) -> Iterator[Figure]:
    """Yield an empty figure (sides in inches), then save it as PNG to `path`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Names may use scripts that the font lacks: boxes are drawn, one warning per letter is not.
        warnings.filterwarnings("ignore", message="Glyph")
        _set_style()
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(textwrap.fill(title, int(width * 11)), x=0.02, ha="left")
        yield figure
        files.write_with(
            path, lambda part: figure.savefig(part, dpi=120, metadata={"Software": None})
        )


def _set_style() -> None:
    import matplotlib

    matplotlib.rcdefaults()
    matplotlib.rcParams.update(
        {
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.titlesize": 11,
            "font.size": 9,
            "grid.color": "#E4E4E4",
            "legend.frameon": False,
            # Class names and paths are text, whatever dollar signs they hold.
            "text.parse_math": False,
        }
    )
