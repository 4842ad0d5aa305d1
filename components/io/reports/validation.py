"""The page about the data set: verdict, problems with thumbnails, rules, classes and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.core.artifacts import SPLITS, ValidationReport
from components.io.reports.pages import render, to_uris

# A longer table of classes is folded.
_SHOWN_CLASSES = 30


@dataclass(frozen=True)
class Problem:
    """A file or class that breaks a rule."""

    path: str
    reason: str
    rule: str


@dataclass(frozen=True)
class GroupStrip:
    """A group of near duplicates, to be looked at.

    Attributes:
        counts: images by class.
        shown: path and class of some of them.
    """

    counts: Mapping[str, int]
    shown: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ClassSamples:
    """Images of a class, to be looked at.

    Attributes:
        name: of the class.
        images: how many it has.
        paths: of some of them.
    """

    name: str
    images: int
    paths: Sequence[str]


def validation_page(
    report: ValidationReport,
    problems: Sequence[Problem],
    strips: Sequence[GroupStrip],
    thumbnails: Mapping[str, bytes],
    samples: Sequence[ClassSamples] = (),
) -> str:
    """The page about the data set.

    Args:
        report: what validate found.
        problems: every problem; the page shows the first 200.
        strips: the largest groups of near duplicates.
        thumbnails: small JPEGs of files that are shown, by path.
        samples: images of the first classes.
    """
    largest = max((sum(by_split.values()) for by_split in report.counts.values()), default=0)
    return render(
        "validation.html",
        report=report,
        rules=sorted(report.rules, key=lambda rule: (rule.success, rule.severity)),
        problems=problems,
        strips=strips,
        samples=samples,
        thumbnails=to_uris(thumbnails),
        largest=max(largest, 1),
        folded=len(report.counts) > _SHOWN_CLASSES,
        shown_splits=SPLITS if report.success else (),
    )
