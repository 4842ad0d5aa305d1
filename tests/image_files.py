"""Image files byte by byte, where Pillow cannot write them: PNG, TIFF and ICC profiles."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHORT, LONG, LONG8 = 3, 4, 16


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A file as Pillow writes it."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 48, height: int = 32, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def scene(width: int = 160, height: int = 120, seed: int = 0) -> Image.Image:
    """Something like a photo: waves, and noise that compresses as a photo's does."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / height
    gray = 128 + 90 * np.sin(20 * x + 5 * y + seed) + rng.normal(0, 6, (height, width))
    color = np.stack([gray * 0.8, gray * 0.9, 255 - gray], axis=-1)
    return Image.fromarray(color.clip(0, 255).astype(np.uint8))


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: NDArray[Any], color_type: int, depth: int = 16, *chunks: bytes) -> bytes:
    """A PNG of whole bytes: `samples` are (H, W) or (H, W, C); `chunks` stand before the data."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if depth == 16 else "u1").reshape(height, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">2I5B", width, height, depth, color_type, 0, 0, 0)
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


Tag = tuple[int, Sequence[int]]
Order = Literal["<", ">"]


def tiff(
    samples: NDArray[Any],
    changes: Mapping[int, Tag] | None = None,
    *,
    order: Order = "<",
    big: bool = False,
    deflate: bool = False,
    later: Sequence[Mapping[int, Tag]] = (),
    sub: Sequence[Mapping[int, Tag]] = (),
) -> bytes:
    """A TIFF of one strip.

    Args:
        samples: (H, W) or (H, W, C), of the type that is stored.
        changes: tags to set: number to type and values; no values leave the tag out.
        order: "<" or ">", the byte order.
        big: BigTIFF.
        deflate: compressed, which Pillow reads by another way.
        later: tags of further pages, which share the first page's strip.
        sub: tags of the first page's SubIFDs, likewise.
    """
    height, width = samples.shape[:2]
    bands = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if deflate else data
    start = 16 if big else 8
    tags: dict[int, Tag] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [samples.dtype.itemsize * 8] * bands),
        259: (SHORT, [8 if deflate else 1]),
        262: (SHORT, [2 if bands >= 3 else 1]),
        273: (LONG, [start]),
        277: (SHORT, [bands]),
        278: (LONG, [height]),
        279: (LONG, [len(data)]),
        **(changes or {}),
    }
    place = start + len(data)
    blocks: list[bytes] = []
    places: list[int] = []
    for page in sub:
        blocks.append(_directory({**tags, **page}, place, order, big, last=True))
        places.append(place)
        place += len(blocks[-1])
    if places:
        tags[330] = (LONG, places)
    first = place
    pages = [tags, *({**tags, 330: (LONG, []), **page} for page in later)]
    for k, page in enumerate(pages):
        blocks.append(_directory(page, place, order, big, last=k == len(pages) - 1))
        place += len(blocks[-1])
    mark = b"II" if order == "<" else b"MM"
    header = (
        mark + struct.pack(order + "HHHQ", 43, 8, 0, first)
        if big
        else mark + struct.pack(order + "HI", 42, first)
    )
    return header + data + b"".join(blocks)


def _directory(tags: Mapping[int, Tag], at: int, order: Order, big: bool, *, last: bool) -> bytes:
    codes = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q"}
    rows = [(tag, *kind) for tag, kind in sorted(tags.items()) if kind[1]]
    room, offset = (8, "Q") if big else (4, "I")
    size = (8 if big else 2) + len(rows) * (20 if big else 12) + room
    head, tail = struct.pack(order + ("Q" if big else "H"), len(rows)), b""
    for tag, kind, values in rows:
        body = struct.pack(f"{order}{len(values)}{codes[kind]}", *values)
        if len(body) > room:
            value = struct.pack(order + offset, at + size + len(tail))
            tail += body + b"\0" * (len(body) % 2)
        else:
            value = body.ljust(room, b"\0")
        head += struct.pack(order + "HH" + offset, tag, kind, len(values)) + value
    following = 0 if last else at + size + len(tail)
    return head + struct.pack(order + offset, following) + tail


# CIE xy of the primaries and the exponent of the transfer curve; white is D65 or, of ProPhoto, D50.
SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
# Bradford, as in ICC.1:2010, annex E
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_PCS_WHITE = np.array([0.9642, 1.0, 0.8249])


def to_xyz(
    primaries: Sequence[tuple[float, float]], white: tuple[float, float] = D65
) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ of D50, (3, 3): Lindbloom's derivation."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    source = np.array([white[0] / white[1], 1, (1 - sum(white)) / white[1]])
    matrix = columns * np.linalg.solve(columns, source)
    cones = (_BRADFORD @ _PCS_WHITE) / (_BRADFORD @ source)
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix
    return adapted


def icc_profile(
    matrix: NDArray[np.float64] | None, curve: float | Sequence[int] = 2.2, name: str = "test"
) -> bytes:
    """An ICC profile of version 2: RGB by a matrix and one curve, or gray when there is no matrix.

    Args:
        matrix: of `to_xyz`.
        curve: an exponent, or samples of 16 bits from black to white.
        name: the description.
    """
    table = [round(curve * 256)] if isinstance(curve, float) else list(curve)
    trc = b"curv" + struct.pack(f">II{len(table)}H", 0, len(table), *table)
    text = name.encode() + b"\0"
    desc = b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78)
    tags = {b"desc": desc, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_PCS_WHITE)}
    if matrix is None:
        tags[b"kTRC"] = trc
    else:
        tags |= {name + b"XYZ": _xyz(matrix[:, k]) for k, name in enumerate((b"r", b"g", b"b"))}
        tags |= {name + b"TRC": trc for name in (b"r", b"g", b"b")}
    space = b"RGB " if matrix is not None else b"GRAY"
    place, table_bytes, body = 132 + 12 * len(tags), b"", b""
    for tag, value in tags.items():
        table_bytes += tag + struct.pack(">II", place + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", place + len(body), b"", 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += _xyz(_PCS_WHITE)[8:] + bytes(48)
    return header + struct.pack(">I", len(tags)) + table_bytes + body


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65_536) for v in values))
