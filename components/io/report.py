"""HTML pages that carry everything inside themselves: no script, no link to the outside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.core.artifacts import SPLITS, ValidationReport


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
    pictures = {path: _data_uri(jpeg) for path, jpeg in thumbnails.items()}
    largest = max((sum(count.values()) for count in report.counts.values()), default=0)
    return render(
        "validation.html",
        report=report,
        rules=sorted(report.rules, key=lambda rule: (rule.success, rule.level)),
        problems=problems,
        pictures=pictures,
        largest=max(largest, 1),
        shown_splits=SPLITS if report.success else (),
    )


def render(template: str, **values: object) -> str:
    """Fill a template of `components/io/templates`; every value is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("components.io"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(template).render(values)


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
