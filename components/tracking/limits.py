"""What MLflow's servers take: names, and so many entries in a request."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

# Entries of a request, characters.
METRICS, PARAMS, TAGS = 1000, 100, 100
PARAM_CHARACTERS, TAG_CHARACTERS = 6000, 5000
_NAME_CHARACTERS = 250


def clean_name(name: str) -> str:
    """A name that MLflow takes: letters, digits and _ - . : space, in a path without detours."""
    allowed = re.sub(r"[^\w\-. :/]", "_", name)[:_NAME_CHARACTERS]
    return posixpath.normpath(f"/{allowed}").strip("/") or "_"


def to_text(value: object) -> str:
    """The value of a parameter; numbers with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def batches(items: list[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
