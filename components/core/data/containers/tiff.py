"""TIFF: what its tags say that Pillow does not ask. Numbers of tags are those of TIFF 6.0."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from types import MappingProxyType
from typing import Literal, NamedTuple

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from components.core.data.containers import InvalidImage

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_MAKE, _SAMPLES, _SUB_DIRECTORIES, _SAMPLE_FORMAT, _XMP, _DNG_VERSION = (
    271,
    277,
    330,
    339,
    700,
    50706,
)

# DNG 1.7: color filter array and linear raw; the private compressions of camera makers are
# libtiff's tiff.h and ExifTool's: NEF 34713, ARW 32767, PEF 65535, SRW 32770 and 32772, DCR 65000.
_RAW_PHOTOMETRIC = frozenset({32803, 34892})
_RAW_COMPRESSION = frozenset({32767, 32769, 32770, 32772, 34713, 65000, 65535})
_RAW_NAMES = (
    ("NIKON", "NEF"),
    ("SONY", "ARW"),
    ("PENTAX", "PEF"),
    ("RICOH", "PEF"),
    ("SAMSUNG", "SRW"),
    ("CANON", "CR2"),
    ("HASSELBLAD", "3FR"),
    ("EPSON", "ERF"),
    ("KODAK", "DCR"),
    ("PHASE ONE", "IIQ"),
    ("LEAF", "MOS"),
)
# A file can lead through more directories than anyone will look at.
_MAX_DIRECTORIES = 64
# A later page of the same shape and at least twice the size: a pyramid with its top first.
_PYRAMID_STEP, _SAME_SHAPE = 1.9, 0.02

# Bytes of a value by its type; the types after 13 are BigTIFF's.
_SIZES = MappingProxyType(
    {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
    | {16: 8, 17: 8, 18: 8}
)
_ENDIAN: Mapping[str, Literal["little", "big"]] = MappingProxyType({"<": "little", ">": "big"})
# CMYK and two more, which Pillow leaves out; of more it complains on the terminal.
_MOST_BANDS = 6
# Of all values of a directory, bytes: layers and previews for other programs may take far more.
_MOST_TAGS = 64 << 20
# Where the pixels are, and what their colors are: needed, however long that is.
_KEPT = frozenset({273, 279, 324, 325, 34675})

_LOOKED_AT = frozenset(
    {_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _MAKE}
    | {_SAMPLES, _SUB_DIRECTORIES, _SAMPLE_FORMAT, _DNG_VERSION}
)

Tags = ImageFileDirectory_v2


def check_first_image(content: bytes) -> None:
    """Refuse a file whose first image is not the photograph, or has samples read wrongly.

    Raises:
        InvalidImage: camera raw, a preview before the image, signed or complex samples.
    """
    if content[:4] == b"MM\0+":
        # Pillow takes its header for that of a classic TIFF
        raise InvalidImage("a big-endian BigTIFF; store it as a classic TIFF", "TIFF")
    first, *later = _pages(content)
    subs = _sub_directories(content, first)
    if _DNG_VERSION in first or any(_is_raw(tags) for tags in (first, *subs, *later)):
        name = "DNG" if _DNG_VERSION in first else _raw_name(first)
        raise InvalidImage(f"camera raw ({name}); convert it to PNG, JPEG or TIFF", "TIFF")
    if _is_preview(first, subs, later):
        raise InvalidImage(
            f"the first image of the file is a reduced one ({_number(first, _WIDTH):,} x "
            f"{_number(first, _HEIGHT):,}); store the full one alone",
            "TIFF",
        )
    if unusual := _unusual_numbers(first):
        raise InvalidImage(f"{unusual}; store unsigned 8 or 16 bits", "TIFF")
    if (bands := _number(first, _SAMPLES, 1)) > _MOST_BANDS:
        raise InvalidImage(f"{bands} bands; store gray, RGB or RGBA", "TIFF")


def explain(content: bytes) -> str:
    """What about the samples is beyond what can be read; empty when it is none of that."""
    tags = _pages(content)[0]
    bits, bands = _number(tags, _BITS, 1), _number(tags, _SAMPLES, 1)
    if _number(tags, _SAMPLE_FORMAT, 1) == 3:
        return f"{bits}-bit float pixels; store 8 or 16 bits"
    if bands > 4 or bands == 2:
        return f"{bands} bands; store gray, RGB or RGBA"
    return f"{bits}-bit samples; store 8 or 16 bits" if bits not in (1, 2, 4, 8, 16) else ""


def bits_per_sample(content: bytes) -> int:
    """Bits per sample of the first image; 1 when the file does not say."""
    return _number(_pages(content)[0], _BITS, 1)


def with_readable_tags(content: bytes) -> bytes:
    """The file, with values that lie outside of it or are huge taken out of the first directory.

    At the former Pillow stops reading the directory, and misses every later tag; of the latter it
    keeps several copies.
    """
    patches: list[tuple[int, bytes]] = []
    taken = 0
    for entry in _entries(content):
        outside = entry.length > entry.room and entry.value + entry.length > len(content)
        huge = taken + entry.length > _MOST_TAGS and entry.tag not in _KEPT
        if outside or huge or (entry.tag == _XMP and entry.kind not in (1, 7)):
            # of one byte, UNDEFINED: fits in, and is read as it is
            one = (1).to_bytes(entry.room, _ENDIAN[entry.order])
            patches.append((entry.place, struct.pack(entry.order + "HH", entry.tag, 7) + one))
        else:
            taken += entry.length
    return _patched(content, patches)


def with_black_as_zero(content: bytes) -> tuple[bytes, bool]:
    """The file, and whether gray of over 8 bits has to be inverted: its zero is white.

    Pillow inverts 1 to 8 bits itself. Of 16 bits it reads one byte order, and does not invert. So
    the file that is returned then claims that its zero is black.
    """
    tags = _pages(content)[0]
    if _number(tags, _PHOTOMETRIC, 1) != 0 or _number(tags, _BITS, 1) <= 8:
        return content, False
    patches = [
        # SHORT or LONG: either way black is zero where the value is 1
        (entry.at, struct.pack(entry.order + ("H" if entry.kind == 3 else "I"), 1))
        for entry in _entries(content)
        if entry.tag == _PHOTOMETRIC
    ]
    return _patched(content, patches), True


def _patched(content: bytes, patches: Sequence[tuple[int, bytes]]) -> bytes:
    """The file with other bytes at some places, in their order; copied once, or not at all."""
    view, done = memoryview(content), 0
    parts: list[memoryview | bytes] = []
    for place, patch in patches:
        parts += [view[done:place], patch]
        done = place + len(patch)
    return b"".join([*parts, view[done:]]) if patches else content


class _Entry(NamedTuple):
    """An entry of a directory: `place` is its own offset, `at` that of its value or pointer."""

    order: str
    place: int
    tag: int
    kind: int
    values: int
    room: int
    at: int
    value: int

    @property
    def length(self) -> int:
        """Of the value, bytes."""
        return _SIZES.get(self.kind, 0) * self.values


def _entries(content: bytes, at: int | None = None) -> Iterator[_Entry]:
    """The entries of a directory, by default the first, as far as they lie in the file."""
    order = "<" if content[:2] == b"II" else ">"
    big = b"+" in content[2:4]
    word, count_code, room = ("Q", "Q", 8) if big else ("I", "H", 4)
    try:
        if at is None:
            (at,) = struct.unpack_from(order + word, content, room)
        (count,) = struct.unpack_from(order + count_code, content, at)
        place = at + struct.calcsize(order + count_code)
        for _ in range(count):
            row = struct.unpack_from(order + "HH" + word * 2, content, place)
            yield _Entry(order, place, row[0], row[1], row[2], room, place + 4 + room, row[3])
            place += 4 + 2 * room
    except (struct.error, OverflowError, TypeError):  # an offset that is none
        return


def _pages(content: bytes) -> list[Tags]:
    """The directories of the file in their order, until one was there before; at least one."""
    place = Tags(_header(content)).next
    pages = {place: _directory(content, place)}
    while len(pages) < _MAX_DIRECTORIES:
        place = pages[place].next
        if not place or place in pages:
            break
        pages[place] = _directory(content, place)
    return list(pages.values())


def _sub_directories(content: bytes, tags: Tags) -> list[Tags]:
    places = tags.get(_SUB_DIRECTORIES, ())
    places = places if isinstance(places, tuple) else (places,)
    return [_directory(content, place) for place in places[:_MAX_DIRECTORIES]]


def _directory(content: bytes, place: int) -> Tags:
    """The tags at an offset that are looked at, as far as they can be read.

    Raises:
        InvalidImage: all of them together are too large to be read.
    """
    size = min(sum(entry.length for entry in _entries(content, place)), len(content))
    if size > _MOST_TAGS:
        raise InvalidImage(f"{size:,} bytes of tags, more than {_MOST_TAGS:,}", "TIFF")
    tags = Tags(_header(content))
    file = BytesIO(content)
    # Pillow raises anything on damaged bytes
    with suppress(Exception):
        file.seek(place)
        tags.load(file)
    for tag in set(tags) - _LOOKED_AT:
        del tags[tag]  # of up to as many directories as we look at
    return tags


def _header(content: bytes) -> bytes:
    return content[: 16 if b"+" in content[2:4] else 8]


def _number(tags: Tags, tag: int, default: int = 0) -> int:
    """The value of a tag, the largest of several; `default` when there is none."""
    try:
        value = tags.get(tag, default)
        return int(max(value) if isinstance(value, tuple) else value)
    except Exception:  # noqa: BLE001 - damaged
        return default


def _is_raw(tags: Tags) -> bool:
    return (
        _number(tags, _PHOTOMETRIC) in _RAW_PHOTOMETRIC
        or _number(tags, _COMPRESSION) in _RAW_COMPRESSION
    )


def _raw_name(tags: Tags) -> str:
    make = str(tags.get(_MAKE, "")).upper()
    return next((name for start, name in _RAW_NAMES if make.startswith(start)), "TIFF")


def _is_preview(first: Tags, subs: list[Tags], later: list[Tags]) -> bool:
    if _number(first, _SUBFILE_TYPE) & 1 or _number(first, _OLD_SUBFILE_TYPE) == 2:
        return True
    width, height = _number(first, _WIDTH), _number(first, _HEIGHT)
    if any(_number(sub, _WIDTH) * _number(sub, _HEIGHT) > width * height for sub in subs):
        return True
    ratios = (
        (_number(page, _WIDTH) / max(width, 1), _number(page, _HEIGHT) / max(height, 1))
        for page in later
    )
    return any(min(r) >= _PYRAMID_STEP and max(r) - min(r) <= _SAME_SHAPE * max(r) for r in ratios)


def _unusual_numbers(tags: Tags) -> str:
    """Signed samples of up to 16 bits, which would be read as unsigned ones, and complex ones."""
    kind, bits = _number(tags, _SAMPLE_FORMAT, 1), _number(tags, _BITS, 1)
    if kind == 2 and bits != 32:
        return f"signed {bits}-bit samples"
    return "complex samples" if kind in (5, 6) else ""
