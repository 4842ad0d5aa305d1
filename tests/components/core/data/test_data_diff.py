"""A planted list of changes is recovered exactly, and no image is lost in the count."""

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.artifacts import DIGEST_COLUMNS, MANIFEST_COLUMNS, data_digest
from components.core.data.data_diff import (
    ShareShift,
    compare,
    list_changes,
    seen_before,
    slim,
)

Row = tuple[str, str, str, str]  # path, pixels, label, split


def manifest(rows: list[Row], ignored: list[Row] | None = None) -> pd.DataFrame:
    table = [
        dict.fromkeys(MANIFEST_COLUMNS, "")
        | {"path": path, "pixel_sha256": pixels, "label": label, "split": split, "status": status}
        for some, status in ((rows, "used"), (ignored or [], "ignored"))
        for path, pixels, label, split in some
    ]
    return pd.DataFrame(table, columns=list(MANIFEST_COLUMNS))


BEFORE: list[Row] = [
    ("cat/1", "p1", "cat", "train"),
    ("cat/2", "p2", "cat", "train"),
    ("cat/3", "p3", "cat", "test"),
    ("dog/4", "p4", "dog", "train"),
]


def test_without_a_baseline_all_else_is_zero() -> None:
    found = compare(None, manifest(BEFORE))
    assert found.baseline == ""
    counts = (found.unchanged, found.added, found.removed, found.relabeled, found.moved)
    assert counts == (0, 0, 0, 0, 0)
    assert found.largest_shift is None
    assert found.examples == {"added": [], "removed": [], "relabeled": [], "moved": []}


def test_equal_data_have_no_difference() -> None:
    found = compare(manifest(BEFORE), manifest(BEFORE))
    assert found.baseline == data_digest(manifest(BEFORE))
    assert found.unchanged == 4
    assert (found.added, found.removed, found.relabeled, found.moved) == (0, 0, 0, 0)
    assert found.largest_shift == ShareShift(name="cat", before=0.75, now=0.75)


def test_a_renamed_file_is_the_same_image() -> None:
    now = [(f"new/{path}", pixels, label, split) for path, pixels, label, split in BEFORE]
    assert compare(manifest(BEFORE), manifest(now)).unchanged == 4


def test_each_kind_of_change_is_counted_and_named() -> None:
    now: list[Row] = [
        ("cat/1", "p1", "cat", "train"),
        ("cat/2", "p2", "cat", "val"),
        ("dog/3", "p3", "dog", "test"),
        ("dog/5", "p5", "dog", "train"),
        ("dog/6", "p6", "dog", "train"),
    ]
    found = compare(manifest(BEFORE), manifest(now))
    assert (found.unchanged, found.moved, found.relabeled) == (1, 1, 1)
    assert (found.added, found.removed) == (2, 1)
    assert found.examples == {
        "added": ["dog/5", "dog/6"],
        "removed": ["dog/4"],
        "relabeled": ["dog/3"],
        "moved": ["cat/2"],
    }
    assert found.largest_shift == ShareShift(name="cat", before=0.75, now=0.4)


def test_copies_of_an_image_count_one_by_one() -> None:
    before: list[Row] = [("a", "p", "cat", "train"), ("b", "p", "cat", "train")]
    three: list[Row] = [*before, ("c", "p", "cat", "train")]
    assert compare(manifest(before), manifest(three)).added == 1
    assert compare(manifest(three), manifest(before)).removed == 1
    mixed: list[Row] = [("a", "p", "cat", "train"), ("b", "p", "dog", "train")]
    found = compare(manifest(before), manifest(mixed))
    assert (found.unchanged, found.relabeled, found.added, found.removed) == (1, 1, 0, 0)


def test_an_image_that_changed_label_and_split_is_relabeled() -> None:
    found = compare(manifest([("a", "p", "cat", "train")]), manifest([("a", "p", "dog", "test")]))
    assert (found.relabeled, found.moved) == (1, 0)


def test_only_used_images_count() -> None:
    found = compare(manifest(BEFORE, BEFORE[:2]), manifest(BEFORE, BEFORE[2:]))
    assert (found.unchanged, found.added, found.removed) == (4, 0, 0)


def test_there_are_at_most_five_examples_of_a_kind() -> None:
    now: list[Row] = [(f"x/{k}", f"q{k}", "cat", "train") for k in range(9)]
    found = compare(manifest([]), manifest(now))
    assert found.added == 9
    assert found.examples["added"] == [f"x/{k}" for k in range(5)]
    assert found.largest_shift == ShareShift(name="cat", before=0, now=1)


def test_two_empty_data_sets_have_no_class_that_could_shift() -> None:
    found = compare(manifest([]), manifest([]))
    assert found.largest_shift is None
    assert found.baseline


ROWS = st.lists(
    st.tuples(
        st.text("ab", max_size=3),
        st.sampled_from("pqr"),
        st.sampled_from(["cat", "dog"]),
        st.sampled_from(["train", "val"]),
    ),
    max_size=12,
)


@given(ROWS, ROWS)
def test_every_image_is_counted_once(before: list[Row], now: list[Row]) -> None:
    found = compare(manifest(before), manifest(now))
    kept = found.unchanged + found.moved + found.relabeled
    assert kept + found.removed == len(before)
    assert kept + found.added == len(now)
    pixels = [Counter(row[1] for row in rows) for rows in (before, now)]
    assert kept == (pixels[0] & pixels[1]).total()


@given(ROWS, ROWS)
def test_the_way_back_is_the_opposite(before: list[Row], now: list[Row]) -> None:
    there, back = (
        compare(manifest(one), manifest(other)) for one, other in ((before, now), (now, before))
    )
    assert (there.added, there.removed) == (back.removed, back.added)
    assert (there.moved, there.relabeled) == (back.moved, back.relabeled)


@pytest.mark.parametrize("rows", [BEFORE, []])
def test_the_slim_manifest_is_enough_and_has_the_same_digest(rows: list[Row]) -> None:
    whole = manifest(rows, BEFORE[:1])
    assert list(slim(whole).columns) == [*DIGEST_COLUMNS, "status"]
    assert data_digest(slim(whole)) == data_digest(whole)
    now = manifest(BEFORE[1:])
    assert compare(slim(whole), now) == compare(whole, now)


def test_every_changed_image_is_listed_with_what_it_was_and_is() -> None:
    now: list[Row] = [
        ("cat/1", "p1", "cat", "train"),
        ("cat/2", "p2", "cat", "val"),
        ("dog/3", "p3", "dog", "test"),
        ("dog/5", "p5", "dog", "train"),
    ]
    assert list_changes(manifest(BEFORE), manifest(now)) == [
        ("added", "dog/5", "", "dog", "", "train"),
        ("removed", "dog/4", "dog", "", "train", ""),
        ("relabeled", "dog/3", "cat", "dog", "test", "test"),
        ("moved", "cat/2", "cat", "cat", "train", "val"),
    ]
    assert list_changes(None, manifest(now)) == []


def test_test_images_that_the_other_model_learned_from_are_found_with_their_groups() -> None:
    before = manifest([("a", "p1", "cat", "train"), ("b", "p2", "cat", "val"),
                       ("c", "p3", "cat", "test"), ("d", "p4", "cat", "train")])  # fmt: skip
    now = manifest([("new/a", "p1", "cat", "test"), ("b", "p2", "dog", "test"),
                    ("c", "p3", "cat", "test"), ("d", "p4", "cat", "train"),
                    ("like-a", "p5", "cat", "test")])  # fmt: skip
    now["group"] = ["p1", "p2", "p3", "p4", "p1"]
    assert seen_before(before, now) == {"new/a", "b", "like-a"}
    assert seen_before(None, now) == set()
    ignored = before.assign(status="ignored")
    assert seen_before(ignored, now) == set()
