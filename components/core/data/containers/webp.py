"""WebP: what its header says, and the file without what lies beside its pixels.

A RIFF file of chunks (developers.google.com/speed/webp/docs/riff_container). Pillow hands the whole
file to its decoder as soon as it opens it, and keeps it four times over.
"""

import struct

# What decides about pixels; orientation and color profile are worth keeping unless they are huge.
_NEEDED = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})
_USEFUL = frozenset({b"EXIF", b"ICCP"})
_LARGEST_METADATA = 16 << 20
# Of the flags in VP8X: what says that a chunk of metadata is there.
_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}


def size(content: bytes) -> tuple[int, int] | None:
    """Width and height as the first chunk states them; None when it does not."""
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return _number(body[4:7]) + 1, _number(body[7:10]) + 1
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = _number(body[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return _number(body[6:8]) & 0x3FFF, _number(body[8:10]) & 0x3FFF
    return None


def without_metadata(content: bytes, at_least: int = 1) -> bytes:
    """The file without texts and unknown chunks, and without oversized EXIF and profile.

    From the first thing that is no chunk on, the rest is left out: it can be no pixels.

    Args:
        content: the file.
        at_least: bytes; if less is to be left out, it is the file itself.
    """
    view, place, dropped = memoryview(content), 12, 0
    kept: list[memoryview | bytes] = []
    while place + 8 <= len(content):
        kind, length = content[place : place + 4], _number(content[place + 4 : place + 8])
        end = place + 8 + length + length % 2
        if kind in _NEEDED or (kind in _USEFUL and length <= _LARGEST_METADATA):
            kept.append(view[place:end])
        else:
            dropped |= _FLAGS.get(kind, 0)
        place = end
    length = sum(map(len, kept))
    if len(content) - 12 - length < at_least:
        return content
    if kept and bytes(kept[0][:4]) == b"VP8X" and len(kept[0]) > 8:
        kept[:1] = [bytes(kept[0][:8]) + bytes([kept[0][8] & ~dropped]), kept[0][9:]]
    return b"".join([b"RIFF", struct.pack("<I", 4 + length), b"WEBP", *kept])


def _number(little_endian: bytes) -> int:
    return int.from_bytes(little_endian, "little")
