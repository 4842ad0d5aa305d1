"""TIFF files whose first image is not the photograph."""

import re
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.core.data import containers
from components.core.data.containers import InvalidImage
from components.core.data.decoding import Decoded, decode
from tests import factories
from tests.image_files import LONG, SHORT, Order, Tag, encode, scene, tiff

PREVIEW = np.asarray(scene(16, 12))
LARGE: dict[int, Tag] = {256: (LONG, [160]), 257: (LONG, [120])}
MOSAIC: dict[int, Tag] = {**LARGE, 254: (LONG, [0]), 262: (SHORT, [32_803])}
REDUCED = "the first image of the file is a reduced one (16 x 12); store the full one alone"


def read(content: bytes, multi_frame: str = "refuse") -> Decoded:
    return decode(content, factories.image_params(formats=["TIFF"], multi_frame=multi_frame))


def reason(content: bytes, multi_frame: str = "refuse") -> str:
    with pytest.raises(InvalidImage) as caught:
        read(content, multi_frame)
    assert caught.value.format == "TIFF"
    return str(caught.value)


def maker(name: str) -> Tag:
    text = name.encode() + b"\0"
    return (2, list(text))


LAYOUTS: list[dict[str, Any]] = [
    {"order": "<"},
    {"order": ">"},
    {"order": "<", "big": True},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({50_706: (1, [1, 4, 0, 0]), 271: maker("Acme")}, "DNG"),
        ({271: maker("NIKON CORPORATION")}, "NEF"),
        ({271: maker("SONY")}, "ARW"),
        ({271: maker("PENTAX Corporation")}, "PEF"),
        ({271: maker("Samsung Techwin")}, "SRW"),
        ({271: maker("Hasselblad")}, "3FR"),
        ({271: maker("Unheard of")}, "TIFF"),
        ({}, "TIFF"),
    ],
)
def test_camera_raw_is_refused_by_its_name(
    layout: dict[str, Any], tags: Mapping[int, Tag], name: str
) -> None:
    expected = f"camera raw ({name}); convert it to PNG, JPEG or TIFF"
    first = {254: (LONG, [1]), **tags}
    for multi_frame in ("refuse", "first"):
        assert reason(tiff(PREVIEW, first, sub=[MOSAIC], **layout), multi_frame) == expected
        # a camera that puts the mosaic into a page of its own, and one that marks no preview
        assert reason(tiff(PREVIEW, tags, later=[MOSAIC], **layout), multi_frame) == expected


@pytest.mark.parametrize(
    "tags",
    [
        {262: (SHORT, [32_803]), 277: (SHORT, [1]), 258: (SHORT, [16])},
        {262: (SHORT, [34_892])},
        {259: (SHORT, [34_713])},
        {259: (SHORT, [32_767])},
        {259: (SHORT, [65_535])},
        {50_706: (1, [1, 1, 0, 0])},
    ],
)
def test_camera_raw_without_a_preview_is_refused_too(tags: Mapping[int, Tag]) -> None:
    assert reason(tiff(PREVIEW, tags)).startswith("camera raw (")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_reduced_first_image_is_refused(layout: dict[str, Any]) -> None:
    for multi_frame in ("refuse", "first"):
        for content in (
            tiff(PREVIEW, {254: (LONG, [1])}, **layout),
            tiff(PREVIEW, {254: (LONG, [1])}, later=[{**LARGE, 254: (LONG, [0])}], **layout),
            tiff(PREVIEW, {255: (SHORT, [2])}, later=[LARGE], **layout),
            tiff(PREVIEW, sub=[LARGE], **layout),
            # nothing is marked: a pyramid, smallest first
            tiff(PREVIEW, later=[{256: (LONG, [32]), 257: (LONG, [24])}, LARGE], **layout),
        ):
            assert reason(content, multi_frame) == REDUCED


@pytest.mark.parametrize("layout", LAYOUTS)
def test_smaller_images_behind_the_first_are_governed_by_multi_frame(
    layout: dict[str, Any],
) -> None:
    small: dict[int, Tag] = {256: (LONG, [8]), 257: (LONG, [6]), 254: (LONG, [1])}
    mask: dict[int, Tag] = {254: (LONG, [4])}
    other_shape: dict[int, Tag] = {256: (LONG, [160]), 257: (LONG, [12])}
    for page in (small, mask, other_shape):
        content = tiff(PREVIEW, later=[page], **layout)
        assert reason(content) == "an animation or several pages"
        assert (np.asarray(read(content, "first").pixels) == PREVIEW).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_smaller_images_in_sub_directories_disturb_nothing(layout: dict[str, Any]) -> None:
    content = tiff(PREVIEW, sub=[{256: (LONG, [8]), 257: (LONG, [6])}], **layout)
    assert (np.asarray(read(content).pixels) == PREVIEW).all()


def test_directories_that_lead_in_a_circle_or_nowhere_end() -> None:
    content = bytearray(tiff(PREVIEW))
    first = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[first : first + 2], "little")
    following = first + 2 + 12 * count
    for place in (first, 8, 2**31, len(content) - 1):
        content[following : following + 4] = place.to_bytes(4, "little")
        refusal = ""
        try:
            read(bytes(content), "first")
        except InvalidImage as error:
            refusal = str(error)
        assert "camera raw" not in refusal
    nowhere = tiff(PREVIEW, {330: (LONG, [2**31, 3, 0])})
    assert (np.asarray(read(nowhere).pixels) == PREVIEW).all()


def test_a_file_of_a_hundred_pages_is_read() -> None:
    content = tiff(PREVIEW, later=[{}] * 100)
    assert (np.asarray(read(content, "first").pixels) == PREVIEW).all()


def test_a_file_without_a_directory_is_damaged_or_truncated() -> None:
    for content in (b"II*\0", b"II*\0\0\0\0\0", b"MM\0*\xff\xff\xff\xff", b"II+\0\x08\0\0\0"):
        assert reason(content).startswith(("damaged TIFF", "truncated"))


def test_broken_numbers_of_a_directory_are_damage() -> None:
    # samples per pixel as text, and a sample format of no number
    for tag in (277, 339):
        content = tiff(PREVIEW, {tag: (2, list(b"abcdefgh\0"))})
        assert reason(content).startswith("damaged TIFF")


def test_a_big_endian_big_tiff_is_named() -> None:
    expected = "a big-endian BigTIFF; store it as a classic TIFF"
    assert reason(tiff(PREVIEW, order=">", big=True)) == expected


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_ordinary_files_are_read_as_before(compression: str | None) -> None:
    found = read(encode(scene(), "TIFF", compression=compression)).pixels
    assert np.abs(np.asarray(found).astype(int) - np.asarray(scene())).mean() < 6


def with_tag(tag: int, kind: int, count: int, value: int, order: Order = "<") -> bytes:
    """A file in which one tag has a type, count and value of one's own choice."""
    content = bytearray(tiff(PREVIEW, {tag: (LONG, [0])}, order=order))
    (first,) = struct.unpack_from(order + "I", content, 4)
    (entries,) = struct.unpack_from(order + "H", content, first)
    for place in range(first + 2, first + 2 + 12 * entries, 12):
        if struct.unpack_from(order + "H", content, place)[0] == tag:
            struct.pack_into(order + "HHII", content, place, tag, kind, count, value)
    return bytes(content)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tag", [269, 270, 271, 282, 305, 315, 700, 33_723, 34_665, 34_675, 34_853])
@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [(2, 100, 10**9), (5, 1, 10**9), (7, 4 * 10**9, 8), (3, 0, 0), (99, 1, 0), (12, 1, 3)],
)
def test_broken_metadata_is_ignored(
    order: Order, tag: int, kind: int, count: int, value: int
) -> None:
    content = with_tag(tag, kind, count, value, order)
    assert (np.asarray(read(content).pixels) == PREVIEW).all()


def test_broken_metadata_hides_no_larger_image_behind_it() -> None:
    content = bytearray(tiff(PREVIEW, {305: (LONG, [0])}, sub=[MOSAIC]))
    place = content.rindex(struct.pack("<HHI", 305, LONG, 1))
    struct.pack_into("<HHII", content, place, 305, 2, 100, 10**9)
    assert reason(bytes(content)).startswith("camera raw")


@pytest.mark.row("D44")
@pytest.mark.parametrize("order", ["<", ">"])
def test_huge_tags_are_left_out_and_the_rest_is_read(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers.tiff, "_MOST_TAGS", 5_000)
    tags = {700: (1, [0] * 4_000), 33_723: (1, [0] * 4_000), 37_724: (7, [0] * 9_000)}
    content = tiff(PREVIEW, tags, order=order)
    shorter = containers.tiff.with_readable_tags(content)
    assert len(shorter) == len(content)
    assert (np.asarray(read(content).pixels) == PREVIEW).all()
    with Image.open(BytesIO(shorter)) as opened:
        found = opened.tag_v2  # type: ignore[attr-defined]
        sizes = {tag: len(found[tag]) for tag in tags}
    assert sizes == {700: 4_000, 33_723: 1, 37_724: 1}


@pytest.mark.row("D44")
def test_a_later_page_with_huge_tags_is_refused_by_their_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers.tiff, "_MOST_TAGS", 5_000)
    content = tiff(PREVIEW, later=[{}, {700: (1, [0] * 9_000)}])
    assert re.fullmatch(r"9,\d{3} bytes of tags, more than 5,000", reason(content, "first"))


def test_of_a_page_no_more_is_kept_than_is_looked_at() -> None:
    pages = containers.tiff._pages(tiff(PREVIEW, {700: (1, [0] * 100), 271: maker("Acme")}))
    assert {256, 257, 271} <= set(pages[0])
    assert 700 not in pages[0]


@pytest.mark.parametrize("place", [2**70, 1.5])
def test_a_directory_at_no_place_is_empty(place: Any) -> None:
    assert not containers.tiff._directory(tiff(PREVIEW), place)
