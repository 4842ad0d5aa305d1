"""Groups never part, shares are kept, and only content decides."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.core.artifacts import SPLITS, Split
from components.core.data.splits import assign, captured, equal, group

SHARES: Mapping[Split, float] = {"train": 0.7, "val": 0.15, "test": 0.15}

# one list of group sizes for each class
CLASSES = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=25), min_size=1, max_size=4)


def files(classes: list[list[int]]) -> tuple[list[str], list[str]]:
    labels = [f"c{k}" for k, sizes in enumerate(classes) for size in sizes for _ in range(size)]
    groups = [
        f"g{k}.{number}"
        for k, sizes in enumerate(classes)
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    return labels, groups


def test_the_captured_text_joins_files_and_no_match_joins_nothing() -> None:
    paths = ["a/p7_1.png", "a/p7_2.png", "b/x.png"]
    assert list(captured(paths, r"(p\d+)_")) == ["p7", "p7", None]
    assert list(captured(paths, r"p\d")) == ["p7", "p7", None]
    assert list(captured(paths, r"(\w)/(p)?")) == ["a\0p", "a\0p", "b\0"]
    assert list(captured(paths, None)) == [None, None, None]


def test_a_pattern_captures_however_accents_are_composed() -> None:
    paths = ["caf\u00e9/ren\u00e9 1.png", "cafe\u0301/rene\u0301 2.png", "cafe/rene 3.png"]
    for pattern in ("/(ren\u00e9)", "/(rene\u0301)"):
        assert list(captured(paths, pattern)) == ["ren\u00e9", "ren\u00e9", None]


def test_equal_keys_are_connected_and_none_equals_nothing() -> None:
    assert list(equal(["x", "y", "x", None, "x", None])) == [(0, 2), (0, 4)]


def test_groups_are_joined_through_pixels_and_pairs_and_named_by_the_smallest_digest() -> None:
    pixels = ["d", "c", "d", "b", "a", "e"]
    assert group(pixels) == pixels
    assert group(pixels, [(1, 2), (3, 1)]) == ["b", "b", "b", "b", "a", "e"]


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=30), st.data())
def test_groups_are_the_connected_components(pixels: list[str], data: st.DataObject) -> None:
    position = st.integers(0, len(pixels) - 1)
    pairs = data.draw(st.lists(st.tuples(position, position), max_size=20))
    names = group(pixels, pairs)
    # the slow and obvious way: let the smallest name spread until nothing changes
    expected, before = list(pixels), list[str]()
    edges = pairs + list(equal(pixels))
    while expected != before:
        before = list(expected)
        for one, other in edges:
            expected[one] = expected[other] = min(expected[one], expected[other])
    assert names == expected


@settings(deadline=None)
@given(CLASSES, st.integers(0, 5))
def test_groups_stay_whole_and_every_split_gets_one(classes: list[list[int]], seed: int) -> None:
    labels, groups = files(classes)
    splits = assign(labels, groups, SHARES, seed)
    homes: defaultdict[str, set[Split]] = defaultdict(set)
    for name, split in zip(groups, splits, strict=True):
        homes[name].add(split)
    assert all(len(found) == 1 for found in homes.values())
    for k, sizes in enumerate(classes):
        found = {split for label, split in zip(labels, splits, strict=True) if label == f"c{k}"}
        assert len(sizes) < 3 or found == set(SPLITS)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=20, max_size=40),
    st.tuples(*[st.floats(0.15, 1)] * 3),
    st.integers(0, 5),
)
def test_a_share_is_missed_by_less_than_the_largest_group(
    sizes: list[int], weights: tuple[float, ...], seed: int
) -> None:
    shares = {split: w / sum(weights) for split, w in zip(SPLITS, weights, strict=True)}
    assume(min(shares.values()) * sum(sizes) >= max(sizes))
    labels, groups = files([sizes])
    counts = Counter(assign(labels, groups, shares, seed))
    for split in SPLITS:
        assert abs(counts[split] - shares[split] * sum(sizes)) < max(sizes)


@given(st.integers(7, 400), st.integers(0, 50))
def test_single_images_miss_their_share_by_less_than_one(count: int, seed: int) -> None:
    splits = Counter(assign(["c"] * count, [f"g{k}" for k in range(count)], SHARES, seed))
    for split in SPLITS:
        assert abs(splits[split] - SHARES[split] * count) < 1


@settings(deadline=None)
@given(CLASSES, st.randoms(use_true_random=False))
def test_listing_order_does_not_matter(classes: list[list[int]], order: random.Random) -> None:
    labels, groups = files(classes)
    splits = assign(labels, groups, SHARES, 0)
    positions = list(range(len(labels)))
    order.shuffle(positions)
    shuffled = assign([labels[p] for p in positions], [groups[p] for p in positions], SHARES, 0)
    assert shuffled == [splits[p] for p in positions]


def test_the_seed_changes_the_split() -> None:
    labels, groups = files([[1] * 40])
    assert assign(labels, groups, SHARES, 0) == assign(labels, groups, SHARES, 0)
    assert assign(labels, groups, SHARES, 0) != assign(labels, groups, SHARES, 1)


@pytest.mark.parametrize("seed", range(10))
def test_a_giant_group_leaves_the_small_ones_to_the_other_splits(seed: int) -> None:
    labels, groups = files([[90, 1, 1, 1, 1, 1]])
    splits = assign(labels, groups, SHARES, seed)
    assert set(splits) == set(SPLITS)
    assert splits[0] == "train"


def test_one_or_two_groups_are_not_spread_by_force() -> None:
    assert assign(["c"], ["g"], SHARES, 0) == ["train"]
    assert assign(["c", "c"], ["g", "g"], SHARES, 0) == ["train", "train"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=150, max_size=200),
    st.integers(0, 5),
)
@settings(deadline=None, max_examples=30)
def test_groups_that_span_classes_stay_whole_and_leave_no_class_out(
    members: list[tuple[str, int]], seed: int
) -> None:
    labels = [label for label, _ in members]
    groups = [f"g{number}" for _, number in members]
    rarest = min("abc", key=lambda label: (labels.count(label), label))
    homes = {number for label, number in members if label == rarest}
    assume(len(homes) >= 3)
    splits = assign(labels, groups, SHARES, seed)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    assert {s for label, s in zip(labels, splits, strict=True) if label == rarest} == set(SPLITS)


def test_the_commoner_class_makes_up_for_shared_groups() -> None:
    # ten shared groups hold one image of each class; class b has thirty more of its own
    labels = ["a"] * 10 + ["b"] * 40
    groups = [f"s{k}" for k in range(10)] * 2 + [f"b{k}" for k in range(30)]
    splits = assign(labels, groups, SHARES, 3)
    for label, count in (("a", 10), ("b", 40)):
        found = Counter(s for name, s in zip(labels, splits, strict=True) if name == label)
        for split in SPLITS:
            assert abs(found[split] - SHARES[split] * count) <= 1


@settings(deadline=None)
@given(CLASSES, st.integers(0, 5), st.integers(0, 5), st.data())
def test_pinned_groups_never_move_whatever_is_added(
    classes: list[list[int]], seed: int, other_seed: int, data: st.DataObject
) -> None:
    labels, groups = files(classes)
    before = dict(zip(groups, assign(labels, groups, SHARES, seed), strict=True))
    added = data.draw(st.lists(st.tuples(st.sampled_from(labels), st.integers(0, 9)), max_size=40))
    labels += [label for label, _ in added]
    groups += [f"new{number}" for _, number in added]
    after = dict(zip(groups, assign(labels, groups, SHARES, other_seed, before), strict=True))
    assert {name: after[name] for name in before} == before


@given(st.integers(60, 300), st.integers(0, 20))
def test_appended_images_fill_up_what_the_pins_leave_of_the_shares(count: int, seed: int) -> None:
    old: dict[str, Split] = {f"g{k}": "train" for k in range(60)}
    names = [f"g{k}" for k in range(60 + 2 * count)]
    found = Counter(assign(["c"] * len(names), names, SHARES, seed, old))
    for split in SPLITS:
        assert abs(found[split] - SHARES[split] * len(names)) < 1


def test_a_pinned_group_is_not_moved_to_fill_an_empty_split() -> None:
    old: dict[str, Split] = {"a": "train", "b": "train", "c": "train"}
    assert assign(["c"] * 3, ["a", "b", "c"], SHARES, 0, old) == ["train"] * 3
    labels, names = ["c"] * 5, ["a", "b", "c", "d", "e"]
    assert set(assign(labels, names, SHARES, 0, old)[3:]) == {"val", "test"}


def test_pins_of_groups_that_are_gone_count_for_nothing() -> None:
    labels, groups = files([[1] * 40])
    gone: dict[str, Split] = {f"gone{k}": "train" for k in range(40)}
    assert assign(labels, groups, SHARES, 0, gone) == assign(labels, groups, SHARES, 0)
