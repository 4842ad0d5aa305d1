"""What is refused by a file's header: none of its pixels is decoded."""

import struct

import pytest

from components.core.data import headers
from components.core.data.containers import InvalidImage
from components.core.data.decoding import decode
from components.core.data.headers import InvalidSides, SideLimits
from tests import factories
from tests.image_files import chunk, encode, noise

LIMITS = SideLimits(min_side=8, max_side=500, max_aspect_ratio=4.0)


def without_pixels(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has nothing else."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    body = [chunk(b"IHDR", header), chunk(b"IDAT", b"no pixels"), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((8, 8), None),
        ((32, 8), None),
        ((500, 125), None),
        ((7, 20), ("min_side", "shorter side 7 px")),
        ((501, 400), ("max_side", "longer side 501 px")),
        ((8, 33), ("max_aspect_ratio", "sides are 4.1 : 1")),
        ((1, 90_000_000), ("min_side", "shorter side 1 px")),
        ((0, 0), ("min_side", "shorter side 0 px")),
    ],
)
def test_both_ends_of_every_bound_are_allowed(
    size: tuple[int, int], expected: tuple[str, str] | None
) -> None:
    assert LIMITS.broken(*size) == LIMITS.broken(*size[::-1]) == expected


def test_without_limits_every_size_is_allowed() -> None:
    assert headers.ANY_SIDES.broken(0, 10**9) is None


@pytest.mark.row("D05")
def test_wrong_sides_are_refused_before_the_pixels_are_decoded() -> None:
    params = factories.image_params(max_pixels=100_000_000)
    content = without_pixels(1, 90_000_000)
    with pytest.raises(InvalidSides, match="longer side 90,000,000 px") as refused:
        decode(content, params, SideLimits(max_side=20_000))
    error = refused.value
    assert (error.rule, error.width, error.height, error.format) == (
        "max_side",
        1,
        90_000_000,
        "PNG",
    )
    with pytest.raises(InvalidImage, match=r"damaged PNG|truncated"):
        decode(without_pixels(100, 100), params, LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_the_sides_of_every_format_are_known(kind: str) -> None:
    params = factories.image_params(formats=[kind])
    content = encode(noise(40, 20), kind)
    assert decode(content, params, SideLimits(20, 40, 2.0)).width == 40
    with pytest.raises(InvalidSides, match=r"sides are 2\.0 : 1"):
        decode(content, params, SideLimits(max_aspect_ratio=1.9))


@pytest.mark.row("D44")
@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_what_is_costly_to_open_is_refused_unopened(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = factories.image_params(formats=[kind])
    head = encode(noise(40, 20), kind)[:30]
    if kind == "WEBP":  # all of the rest is said to be pixels
        head = head[:16] + struct.pack("<I", 20_010) + head[20:]
    monkeypatch.setattr(headers, "LARGEST_METADATA", 100)
    with pytest.raises(InvalidImage, match="bytes, more than the"):
        decode(head + bytes(20_000), params)
