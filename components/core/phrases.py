"""Phrases that messages and pages share."""

from __future__ import annotations

from collections.abc import Sequence


def listing(names: Sequence[str], limit: int, separator: str = ", ") -> str:
    """The first names, and how many are left: "a, b, c and 4 more"; empty for no names.

    Args:
        names: in the order of their weight.
        limit: how many are named, 1 or more.
        separator: between two names.
    """
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return separator.join(names[:limit]) + more


def count(number: int, noun: str) -> str:
    """A number with its noun: "no file", "1 file", "1,200 files"."""
    return f"{number or 'no'} {noun}" if number < 2 else f"{number:,} {noun}s"


def short_digest(digest: str) -> str:
    """The first 12 hex digits of a digest: enough for people to tell two apart."""
    return digest[:12]
