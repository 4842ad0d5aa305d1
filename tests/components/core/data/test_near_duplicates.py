"""The search finds what the slow and obvious one finds; near duplicates are joined, others not."""

from collections.abc import Callable
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from components.core.data.fingerprints import FINGERPRINT, Fingerprints, fingerprint
from components.core.data.hamming import hamming_neighbors
from components.core.data.near_duplicates import NearDuplicateParams, NearDuplicates, find

Words = NDArray[np.uint64]
Transpose = Image.Transpose
CLOSE = NearDuplicateParams(max_hamming_distance=11, min_similarity=0.7)
EQUAL = NearDuplicateParams(max_hamming_distance=11, min_similarity=1.0)


def near(fingerprints: Fingerprints, params: NearDuplicateParams = CLOSE) -> list[NearDuplicates]:
    return find(fingerprints.__getitem__, len(fingerprints), params)


def pairs(fingerprints: Fingerprints) -> list[tuple[int, int]]:
    return [(found.one, found.other) for found in near(fingerprints)]


def prints(*images: Image.Image) -> Fingerprints:
    return np.concatenate([fingerprint(image) for image in images])


def words(*values: int) -> Words:
    return np.array(values, dtype=np.uint64)


def found(ones: Words, others: Words, most: int) -> set[tuple[int, int]]:
    pairs = (
        zip(i.tolist(), j.tolist(), strict=True) for i, j in hamming_neighbors(ones, others, most)
    )
    return {pair for part in pairs for pair in part}


HASHES = st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=12)


@settings(deadline=None, max_examples=40)
@given(HASHES, HASHES, st.integers(0, 12), st.data())
def test_every_close_pair_is_found_and_no_other(
    left: list[int], right: list[int], most: int, data: st.DataObject
) -> None:
    # copies with some bits changed, so that there are pairs on both sides of the limit
    for value in left[:6]:
        places = data.draw(st.lists(st.integers(0, 63), max_size=most + 2, unique=True))
        right = [*right, value ^ sum(1 << place for place in places)]
    expected = {
        (i, j)
        for (i, one), (j, other) in product(enumerate(left), enumerate(right))
        if (one ^ other).bit_count() <= most
    }
    assert found(words(*left), words(*right), most) == expected


@pytest.mark.parametrize("most", [0, 3, 4, 7, 11])
def test_the_limit_itself_is_close_and_one_bit_more_is_not(most: int) -> None:
    # the changed bits lie evenly over the substrings: the hardest case
    changed = sum(1 << (16 * (k % 4) + k) for k in range(most))
    assert found(words(7), words(7 ^ changed), most) == {(0, 0)}
    assert found(words(7), words(7 ^ changed ^ (1 << 63)), most) == set()


def test_a_negative_limit_finds_nothing() -> None:
    assert found(words(1), words(1), -1) == set()


def test_memory_stays_bounded_where_all_hashes_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.core.data.hamming._AT_ONCE", 50)
    parts = list(hamming_neighbors(words(*[9] * 40), words(*[9] * 40), 0))
    assert max(len(left) for left, _ in parts) <= 50
    assert len(found(words(*[9] * 40), words(*[9] * 40), 0)) == 1600


def test_an_image_without_structure_is_like_nothing() -> None:
    assert near(prints(*(Image.new("L", (64, 64), level) for level in (0, 90, 90)))) == []


def scene(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)
    return Image.fromarray(pixels).resize((200, 200), Image.Resampling.BICUBIC)


CHANGES: list[Callable[[Image.Image], Image.Image]] = [
    lambda p: p,
    lambda p: p.resize((120, 120), Image.Resampling.BILINEAR),
    lambda p: p.point(lambda value: value // 2 + 40),
    lambda p: p.transpose(Transpose.FLIP_LEFT_RIGHT),
    lambda p: p.transpose(Transpose.FLIP_TOP_BOTTOM),
    lambda p: p.transpose(Transpose.ROTATE_180),
    lambda p: p.crop((6, 6, 194, 194)),
    lambda p: p.crop((9, 9, 191, 191)).transpose(Transpose.FLIP_LEFT_RIGHT),
]


@pytest.mark.row("D32")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("copy_first", [False, True])
def test_a_changed_copy_is_found_among_strangers(
    change: Callable[[Image.Image], Image.Image], copy_first: bool
) -> None:
    images = [scene(1), scene(2), scene(3), change(scene(1))]
    if copy_first:
        images.reverse()
    (pair,) = near(prints(*images))
    assert sorted((pair.one, pair.other)) == [0, 3]
    assert CLOSE.min_similarity <= pair.similarity <= 1


def drawing(color: tuple[int, int, int], shift: int = 0) -> Image.Image:
    """A figure on white with large flat areas."""
    image = Image.new("RGB", (96, 96), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 12, 80, 60), fill=color)
    draw.polygon([(30 + shift, 88), (50, 50), (85, 80)], fill=(40, 40, 40))
    return image


def encoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    file = BytesIO()
    image.save(file, kind, quality=quality)
    return Image.open(file).convert(image.mode)


RED = (200, 30, 30)
DRAWN: list[Callable[[Image.Image], Image.Image]] = [
    lambda p: encoded(p, "JPEG", 80),
    lambda p: encoded(p, "JPEG", 50),
    lambda p: encoded(p, "WEBP", 80),
    lambda p: p.resize((93, 93)),
    lambda p: p.resize((48, 48)),
    lambda p: encoded(p.resize((192, 192)), "JPEG", 80),
    lambda p: p.convert("L"),
    lambda p: p.point(lambda value: value * 8 // 10),
    lambda p: encoded(p.transpose(Transpose.FLIP_LEFT_RIGHT), "JPEG", 80),
]


@pytest.mark.parametrize("change", DRAWN)
def test_a_changed_copy_of_a_drawing_on_a_flat_background_is_found(
    change: Callable[[Image.Image], Image.Image],
) -> None:
    assert len(near(prints(drawing(RED), change(drawing(RED)), scene(1)))) == 1


def test_one_shape_in_two_colors_is_two_images_unless_one_is_gray() -> None:
    blue = drawing((30, 60, 200))
    assert near(prints(drawing(RED), blue)) == []
    assert pairs(prints(drawing(RED), drawing(RED).convert("L"))) == [(0, 1)]


def test_two_drawings_that_share_most_of_their_lines_are_two() -> None:
    assert near(prints(drawing(RED), drawing(RED, shift=24))) == []


def test_a_family_is_connected_by_one_pair_less_than_it_has_members() -> None:
    images = [scene(1), *(change(scene(1)) for change in CHANGES), scene(2)]
    found = pairs(prints(*images))
    assert len(found) == len(CHANGES)
    assert {position for pair in found for position in pair} == set(range(len(CHANGES) + 1))


def test_finer_views_tell_apart_what_the_hash_alone_would_join() -> None:
    both = prints(scene(1), scene(2))
    both["hashes"][1], both["inside"][1] = both["hashes"][0], both["inside"][0]
    assert near(both) == []
    assert near(both[[0, 0]], EQUAL) == [NearDuplicates(0, 1, 1.0)]


@pytest.mark.timeout(60)
def test_thousands_of_images_of_one_scene_are_one_family_at_once() -> None:
    fingerprints = np.repeat(fingerprint(scene(1)), 20_000, axis=0)
    fingerprints[7] = fingerprint(scene(2))[0]
    fingerprints[9] = fingerprint(scene(1).transpose(Transpose.ROTATE_180))[0]
    found = pairs(fingerprints)
    assert len(found) == 19_998
    assert 7 not in {position for pair in found for position in pair}


def test_nothing_is_found_among_no_images() -> None:
    assert near(np.empty(0, FINGERPRINT)) == []


@pytest.mark.row("D41")
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_hundred_thousand_images_take_less_than_a_minute() -> None:
    rng = np.random.default_rng(0)
    fingerprints = np.frombuffer(rng.bytes(100_000 * FINGERPRINT.itemsize), FINGERPRINT).copy()
    fingerprints[-500:] = fingerprints[:500]
    assert sorted(pairs(fingerprints)) == [(k, 99_500 + k) for k in range(500)]
