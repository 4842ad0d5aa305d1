"""What all HTML pages share: one self-contained file, no script, no link to the outside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

from components.core.data.decoding import ImageParams, InvalidImage, load_image
from components.io.data.scan import read_regular


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
    return pages.get_template(template).render(values)


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
    from PIL import Image

    padded = params.model_copy(update={"resize_mode": "pad"})
    jpegs: dict[str, bytes] = {}
    for path in paths:
        try:
            pixels = load_image(read_regular(images / path, params), side, padded)
        except (OSError, InvalidImage):
            continue
        jpeg = BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG", quality=80)
        jpegs[path] = jpeg.getvalue()
    return jpegs


def to_uris(thumbnails: Mapping[str, bytes]) -> dict[str, str]:
    """JPEGs as data URIs, which keep a page self-contained."""
    start = "data:image/jpeg;base64,"
    return {path: start + base64.b64encode(jpeg).decode() for path, jpeg in thumbnails.items()}
