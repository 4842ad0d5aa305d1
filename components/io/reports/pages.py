"""HTML pages that carry everything inside themselves: no script, no link to the outside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from components.core.artifacts import SPLITS, ValidationReport
from components.core.data.decoding import ImageParams, InvalidImage, load_image
from components.io.data.scan import read_regular


@dataclass(frozen=True)
class Problem:
    """A file or class that breaks a rule."""

    path: str
    reason: str
    rule: str


def validation_page(
    report: ValidationReport, problems: Sequence[Problem], thumbnails: Mapping[str, bytes]
) -> str:
    """The page about the data set.

    Args:
        report: what validate found.
        problems: every problem; the page shows the first 200.
        thumbnails: small JPEGs of problem files, by path.
    """
    largest = max((sum(count.values()) for count in report.counts.values()), default=0)
    return render(
        "validation.html",
        report=report,
        rules=sorted(report.rules, key=lambda rule: (rule.success, rule.level)),
        problems=problems,
        pictures=to_uris(thumbnails),
        largest=max(largest, 1),
        shown_splits=SPLITS if report.success else (),
    )


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
    images: Path, paths: Iterable[str], reader: ImageParams, *, side: int
) -> dict[str, bytes]:
    """Small square JPEGs by path, each the whole picture; one that cannot be read is left out.

    Args:
        images: folder that the paths are relative to.
        paths: of the pictures.
        reader: how bytes become pixels.
        side: pixels.
    """
    from PIL import Image

    whole = reader.model_copy(update={"fit": "pad"})
    found: dict[str, bytes] = {}
    for path in paths:
        try:
            pixels = load_image(read_regular(images / path, reader), side, whole)
        except (OSError, InvalidImage):
            continue
        jpeg = BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG", quality=80)
        found[path] = jpeg.getvalue()
    return found


def to_uris(thumbnails: Mapping[str, bytes]) -> dict[str, str]:
    """JPEGs as text that a page can hold."""
    start = "data:image/jpeg;base64,"
    return {path: start + base64.b64encode(jpeg).decode() for path, jpeg in thumbnails.items()}
