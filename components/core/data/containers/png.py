"""PNG without the parts that may be broken while the pixels are sound."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What decides about pixels besides the critical chunks: transparency, and what makes an animation.
_NEEDED = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})
# Orientation and color profile: worth keeping where they are whole.
_USEFUL = frozenset({b"eXIf", b"iCCP"})
# A profile above it is no profile of a photograph; Pillow's own limit of a decompressed chunk.
_LARGEST_PROFILE = 1 << 20
_LARGEST_METADATA = 16 << 20  # as it is stored; larger ones are not even looked at


def without_metadata(content: bytes, at_least: int = 1) -> bytes:
    """The file without texts, times and the like, and without damaged or oversized metadata.

    Chunks are copied, never decompressed but for a bounded look at the profile. From the first
    thing that is no chunk on, the rest is kept as it is.

    Args:
        content: the file.
        at_least: bytes; if less is to be left out, it is the file itself.
    """
    view = memoryview(content)
    kept, place = [view[:8]], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        kind, end = content[place + 4 : place + 8], place + 12 + length
        # bit 5 of the first letter: ancillary (PNG specification, 5.4)
        critical = not kind[0] & 0x20
        if critical or kind in _NEEDED or (kind in _USEFUL and _is_whole(content, place, end)):
            kept.append(view[place:end])
        place = end
    kept.append(view[place:])
    return b"".join(kept) if len(content) - sum(map(len, kept)) >= at_least else content


def _is_whole(content: bytes, place: int, end: int) -> bool:
    if end - place > _LARGEST_METADATA:
        return False
    kind, body = content[place + 4 : place + 8], content[place + 8 : end - 4]
    if zlib.crc32(kind + body) != int.from_bytes(content[end - 4 : end], "big"):
        return False
    if kind != b"iCCP":
        return True
    stream = zlib.decompressobj()
    try:
        stream.decompress(body.partition(b"\0")[2][1:], _LARGEST_PROFILE)
    except zlib.error:
        return False
    return stream.eof
