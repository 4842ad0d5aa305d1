"""What one image may cost beside its pixels: decoded in a child that has little memory."""

import os
import sys
from pathlib import Path

import pytest

from components.core.data.decoding import InvalidImage, decode
from components.core.errors import ChangedInput
from components.io.data.pixel_cache import read_unchanged
from tests.components.core.data.test_decoding import PARAMS, encode, noise
from tests.faults import confined

_MIB = 200  # of metadata in a file; its decoding may take as much again

# Writes no such file: it is made in the child, before the limit counts.
_CODE = """
import resource, struct, sys, zlib
sys.path.insert(0, {root!r})
from components.core.data.decoding import InvalidImage, decode
from tests.components.core.data.test_decoding import PARAMS, encode, noise

size, kind = {mib} << 20, {kind!r}
image = noise(40, 20)
if kind == "APP5":
    content, segment = encode(image, "JPEG"), b"\\xff\\xe5\\xff\\xff" + bytes(65533)
    content = b"".join([content[:2], *[segment] * (size // len(segment)), content[2:]])
elif kind == "XMP":
    content = encode(image, "WEBP")
    head = struct.pack("<4sI4s", b"RIFF", len(content) + size, b"WEBP")
    content = b"".join([head, content[12:], struct.pack("<4sI", b"XMP ", size), bytes(size)])
elif kind == "tag 37724":
    content = encode(image, "TIFF")
    (place,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, place)
    old, end = content[place + 2 : place + 2 + 12 * count], len(content) + 18 + 12 * count
    entry = struct.pack("<HHII", 37724, 7, size, end)
    rows = [struct.pack("<H", count + 1), old, entry, bytes(4)]
    content = content[:4] + struct.pack("<I", len(content)) + content[8:]
    content = b"".join([content, *rows, bytes(size)])
elif kind == "comment":
    content, block = encode(image, "GIF"), b"\\xff" + bytes(255)
    content = b"".join([content[:-1], b"!\\xfe", *[block] * (size // 256), b"\\0;"])
else:
    body = {{"iTXt": b"k" + bytes(5), "iCCP": b"name" + bytes(2)}}[kind] + bytes(size)
    content, name = encode(image, "PNG"), kind.encode()
    end = struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
    content = b"".join([content[:33], struct.pack(">I", len(body)), name, body, end, content[33:]])
    del body
limit = {limit} << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    print(decode(content, PARAMS).rgb.size)
except InvalidImage as refusal:
    print(refusal)
"""


@pytest.mark.row("D44")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, "(40, 20)") for kind in ("iTXt", "iCCP", "APP5", "XMP")),
        *((kind, "bytes, more than the") for kind in ("tag 37724", "comment")),
    ],
)
def test_metadata_cost_no_more_than_they_weigh(kind: str, expected: str) -> None:
    root = str(Path(__file__).parents[2])
    code = _CODE.format(root=root, mib=_MIB, kind=kind, limit=3 * _MIB)
    done = confined.run([sys.executable, "-c", code])
    assert expected in done.stdout, done.stderr[-2000:]


@pytest.mark.row("D44")
@pytest.mark.parametrize(
    ("kind", "most"), [("TIFF", "16,400"), ("BMP", "16,400"), ("GIF", "11,600")]
)
def test_a_file_far_larger_than_its_pixels_is_refused(
    kind: str, most: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.core.data.headers.LARGEST_METADATA", 10_000)
    content = encode(noise(40, 20), kind)
    decode(content + bytes(5_000), PARAMS)
    with pytest.raises(InvalidImage, match=f"more than the {most} that its pixels can take"):
        decode(content + bytes(20_000), PARAMS)


@pytest.mark.row("D44")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_orientation_stays_where_little_is_left_out(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only far too much of it costs a file its metadata."""
    exif = noise().getexif()
    exif[0x0112] = 6
    content = encode(noise(40, 20), kind, exif=exif)
    expected = decode(content, PARAMS)
    assert (expected.width, expected.height) == (20, 40)
    monkeypatch.setattr("components.core.data.headers.LARGEST_METADATA", len(content) - 1)
    assert decode(content, PARAMS).pixels.tobytes() == expected.pixels.tobytes()


@pytest.mark.row("D17")
def test_a_fifo_in_place_of_an_image_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cat.png")
    with pytest.raises(ChangedInput, match=r"could not be read \(no longer a regular file\)"):
        read_unchanged(tmp_path / "cat.png", "0" * 64)
