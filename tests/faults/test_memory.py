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

size = {mib} << 20
image = noise(40, 20)
if {kind!r} == "APP5":
    content, segment = encode(image, "JPEG"), b"\\xff\\xe5\\xff\\xff" + bytes(65533)
    content = b"".join([content[:2], *[segment] * (size // len(segment)), content[2:]])
else:
    body = {{"iTXt": b"k" + bytes(5), "iCCP": b"name" + bytes(2)}}[{kind!r}] + bytes(size)
    content, name = encode(image, "PNG"), {kind!r}.encode()
    end = struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
    content = b"".join([content[:33], struct.pack(">I", len(body)), name, body, end, content[33:]])
    del body
limit = {limit} << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
found = decode(content, PARAMS)
print(found.width, found.height)
"""


@pytest.mark.row("D44")
@pytest.mark.parametrize("kind", ["iTXt", "iCCP", "APP5"])
def test_metadata_cost_no_more_than_they_weigh(kind: str) -> None:
    root = str(Path(__file__).parents[2])
    code = _CODE.format(root=root, mib=_MIB, kind=kind, limit=3 * _MIB)
    done = confined.run([sys.executable, "-c", code])
    assert done.stdout.split() == ["40", "20"], done.stderr[-2000:]


@pytest.mark.row("D44")
@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF"])
def test_a_file_far_larger_than_its_pixels_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.core.data.decoding._LARGEST_METADATA", 10_000)
    content = encode(noise(40, 20), kind)
    decode(content + bytes(5_000), PARAMS)
    with pytest.raises(InvalidImage, match="bytes, more than the 16,400 that its pixels can take"):
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
    monkeypatch.setattr("components.core.data.decoding._LARGEST_METADATA", len(content) - 1)
    assert decode(content, PARAMS).pixels.tobytes() == expected.pixels.tobytes()


@pytest.mark.row("D17")
def test_a_fifo_in_place_of_an_image_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cat.png")
    with pytest.raises(ChangedInput, match=r"could not be read \(no longer a regular file\)"):
        read_unchanged(tmp_path / "cat.png", "0" * 64)
