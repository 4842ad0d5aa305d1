"""What all HTML pages share: one self-contained file, no script, no link to the outside."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.data.decoding import ImageParams, InvalidImage, load_image
from components.io.data.scan import read_regular
from components.io.reports.plots.canvas import shorten

if TYPE_CHECKING:
    import numpy as np
    from markupsafe import Markup
    from numpy.typing import NDArray


def render(template: str, **values: object) -> str:
    """Fill a template of `components/io/reports/templates`; every value is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("components.io.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"shorten": shorten, "code": _code}
    return pages.get_template(template).render(values)


def _code(text: str) -> Markup:
    """Words between backticks as code, as Markdown has them."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def thumbnails(
    images: Path, paths: Iterable[str], params: ImageParams, *, side: int
) -> dict[str, bytes]:
    """Small square JPEGs by path, each of a whole image; what cannot be read is left out.

    Args:
        images: folder that the paths are relative to.
        paths: of the images.
        params: how bytes become pixels.
        side: pixels.
    """
    padded = params.model_copy(update={"resize_mode": "pad"})
    jpegs: dict[str, bytes] = {}
    for path in paths:
        try:
            pixels = load_image(read_regular(images / path, params), side, padded)
        except (OSError, InvalidImage):
            continue
        jpegs[path] = to_jpeg(pixels, side)
    return jpegs


def to_jpeg(pixels: NDArray[np.uint8], side: int = 96) -> bytes:
    """A square image as a small JPEG.

    Args:
        pixels: (S, S, 3).
        side: of the result, pixels.
    """
    from PIL import Image

    image, jpeg = Image.fromarray(pixels), BytesIO()
    if image.width != side:
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    image.save(jpeg, "JPEG", quality=80)
    return jpeg.getvalue()


def to_uris(thumbnails: Mapping[str, bytes]) -> dict[str, str]:
    """JPEGs as data URIs, which keep a page self-contained."""
    start = "data:image/jpeg;base64,"
    return {path: start + base64.b64encode(jpeg).decode() for path, jpeg in thumbnails.items()}
