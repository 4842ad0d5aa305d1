"""Phrases that many messages share read like English."""

import pytest

from components.core.phrases import count, listing, short_digest


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        (["a", "b", *("c" * 1_201)], "a, b, c and 1,200 more"),
    ],
)
def test_a_listing_names_the_first_and_counts_the_rest(names: list[str], text: str) -> None:
    assert listing(names, 3) == text


def test_a_listing_may_separate_names_otherwise() -> None:
    assert listing(["a: 1", "b: 2", "c: 3"], 2, "; ") == "a: 1; b: 2 and 1 more"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "no file"), (1, "1 file"), (2, "2 files"), (1_200, "1,200 files")]
)
def test_a_number_comes_with_its_noun(number: int, text: str) -> None:
    assert count(number, "file") == text


def test_a_short_digest_is_the_first_twelve_digits() -> None:
    assert short_digest("0123456789abcdef" * 4) == "0123456789ab"
