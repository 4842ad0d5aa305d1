"""JPEG, decoded strictly. Pillow hides the warnings with which libjpeg reports a damaged stream.

simplejpeg wraps the same libjpeg-turbo and raises them. Not every warning is damage: cameras pad
the stream, and what stands beside the pixels may be broken. Those files are left to Pillow.
"""

import re

import simplejpeg
from PIL import Image
from PIL.ImageFile import ImageFile

from components.core.data.containers import InvalidImage

# The segments that say nothing about pixels: APP1-APP13, APP15, COM (ISO 10918-1, table B.1).
# APP0 (JFIF) and APP14 (Adobe) tell libjpeg which colors the components are.
_SEGMENT = re.compile(rb"\xff+([\xc0-\xc7\xc9-\xcf\xdb-\xef\xfe])(..)", re.DOTALL)
_METADATA = frozenset(range(0xE1, 0xEE)) | {0xEF, 0xFE}
_SCAN = re.compile(rb"\xff+\xda(..)", re.DOTALL)
_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_HUFFMAN_TABLES, _SEQUENTIAL_FRAMES = 0xC4, (0xC0, 0xC1)

# libjpeg-turbo's jerror.h: what means missing, surplus or wrong entropy-coded data. Pillow stops
# at the last row, and never sees markers that make no sense behind it.
_DAMAGE = re.compile(
    "premature end of data segment|bad Huffman code|bad arithmetic code|instead of RST"
    "|(?P<surplus>\\d+) extraneous bytes before marker 0x(?P<marker>..)"
    "|Inconsistent progression|Premature end of JPEG file"
    "|(Unsupported marker|Unsupported JPEG process|Invalid (?!SOS)|Bogus).*"
)
# By Pillow's mode. Four bytes a pixel are how Pillow keeps color: less is moved on the way.
_COLOR_SPACES = {"L": "GRAY", "RGB": "RGBX", "CMYK": "CMYK"}

# A block takes at most 24 bytes of zero bits in a table whose code of zeros is no end of block.
_ZEROS = bytes(64)


def without_metadata(content: bytes, at_least: int = 1) -> bytes:
    """The stream without EXIF, XMP, ICC profiles and comments; what cannot be parsed is kept.

    Args:
        content: the file.
        at_least: bytes; if less is to be left out, it is the file itself.
    """
    view = memoryview(content)
    kept, place = [view[:2]], 2
    while segment := _SEGMENT.match(content, place):
        end = segment.start(2) + int.from_bytes(segment[2], "big")
        if segment[1][0] not in _METADATA:
            kept.append(view[place:end])
        place = end
    kept.append(view[place:])
    return b"".join(kept) if len(content) - sum(map(len, kept)) >= at_least else content


def decode(content: bytes, image: ImageFile) -> Image.Image:
    """The pixels of a JPEG: mode L, RGB or CMYK.

    Args:
        content: the file.
        image: the same file, opened by Pillow and not loaded.

    Raises:
        InvalidImage: the stream is damaged or cut, though it may be decoded in part.
    """
    stream = without_metadata(content)
    surplus = 0
    try:
        pixels = simplejpeg.decode_jpeg(stream, _COLOR_SPACES[image.mode])
    except ValueError as error:
        surplus = _judge(str(error), stream)
        image.load()
        decoded: Image.Image = image
    else:
        # as Pillow does: every CMYK JPEG is taken for Adobe's, which stores ink inverted
        pixels = 255 - pixels if image.mode == "CMYK" else pixels
        stored = "RGBX" if image.mode == "RGB" else image.mode
        decoded = Image.frombuffer(stored, image.size, pixels, "raw", stored, 0, 1)
        decoded = decoded.convert("RGB") if stored == "RGBX" else decoded
    if _has_zeroed_block(stream, surplus):
        raise InvalidImage("damaged JPEG (a part of the stream is zeros)", "JPEG")
    return decoded


def _judge(warning: str, stream: bytes) -> int:
    """Raise when the warning means damage; otherwise the number of bytes of padding."""
    damage = _DAMAGE.search(warning)
    if damage is None:
        return 0
    if warning.startswith("Premature end of JPEG"):
        raise InvalidImage("truncated", "JPEG")
    surplus = int(damage["surplus"] or 0)
    if surplus and damage["marker"] == "d9" and _is_padded(stream, surplus):
        return surplus
    raise InvalidImage(f"damaged JPEG ({damage[0]})", "JPEG")


def _is_padded(stream: bytes, surplus: int) -> bool:
    """Whether what lies between the pixels and an end of image is one repeated byte."""
    ends = (match.start() for match in re.finditer(rb"\xff+\xd9", stream))
    return any(len(set(stream[max(end - surplus, 0) : end])) == 1 for end in ends)


def _has_zeroed_block(stream: bytes, padding: int) -> bool:
    """Whether a run of zeros lies where the Huffman tables cannot have put one.

    libjpeg decodes zeros as coefficients, and is silent when it meets the number of blocks again.
    Looked at are sequential frames in which some table's code of zeros is no end of block: there,
    a block of zeros would have 63 equal coefficients. Otherwise zeros are an even area.
    """
    if _ZEROS not in stream:
        return False
    place, sequential, ends_block = 2, False, True
    while segment := _SEGMENT.match(stream, place):
        body, place = segment.end(), segment.start(2) + int.from_bytes(segment[2], "big")
        sequential |= segment[1][0] in _SEQUENTIAL_FRAMES
        if segment[1][0] == _HUFFMAN_TABLES:
            ends_block &= _zeros_end_blocks(stream[body:place])
    scan = _SCAN.match(stream, place)
    if scan is None or not sequential or ends_block:
        return False
    end = _SCAN_END.search(stream, scan.end())
    data = stream[scan.end() : end.start() if end else len(stream)]
    return _ZEROS in data[: len(data) - padding]


def _zeros_end_blocks(tables: bytes) -> bool:
    """Whether in each AC table of a segment the code of zeros, its first, is the end of block."""
    while len(tables) > 17:
        symbols = sum(tables[1:17])
        if tables[0] >> 4 and tables[17] != 0:
            return False
        tables = tables[17 + symbols :]
    return True
