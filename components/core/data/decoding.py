"""Bytes to pixels, in one way: the same for validation, training, evaluation and serving.

bytes --signature, allow-list--> decoder --pixel cap, full decode--> upright 8-bit sRGB --> square
"""

import re
import struct
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pydantic import BaseModel, ConfigDict, Field

from components.core.data import compositing, deep_samples, headers
from components.core.data.containers import Format, InvalidImage, jpeg, png, signatures, tiff, webp
from components.core.data.headers import ANY_SIDES, HeaderRules, SideLimits

__all__ = [
    "CONVERSION_VERSION",
    "DataParams",
    "Decoded",
    "DoubtRule",
    "Format",
    "ImageParams",
    "InvalidImage",
    "decode",
    "load_image",
    "resize_to_square",
]

# Part of every key under which pixels and what is known of them are cached: raise it when the same
# bytes give other pixels or another fingerprint.
CONVERSION_VERSION = 3

Channel = Annotated[int, Field(ge=0, le=255)]

# Rules about pixels that can be decoded, but hardly are what was photographed.
DoubtRule = Literal["value_range", "one_color"]
Resampling = Image.Resampling
Transpose = Image.Transpose


class ImageParams(BaseModel):
    """How bytes become pixels. Travels inside the model card, so serving reads the same way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formats: list[Format] = Field(
        min_length=1, description="Allowed formats, found in the content, not in the file's name."
    )
    max_pixels: int = Field(
        ge=1, le=1_000_000_000, description="Larger images are refused before they are decoded."
    )
    white_level: int | None = Field(
        ge=255,
        le=65_535,
        description="The sample of 16-bit files that becomes 255, e.g. 4095 for 12 bits of data; "
        "null = all 16 bits are used, and files that use less are reported.",
    )
    multi_frame: Literal["refuse", "first"] = Field(
        description="What to do with animations and multi-page files: refuse them, or use the "
        "first frame."
    )
    background: tuple[Channel, Channel, Channel] = Field(
        description="RGB behind transparent pixels and beside padded images."
    )
    resize_mode: Literal["crop", "pad", "stretch"] = Field(
        description="How an image becomes a square: crop the longer side, pad the shorter one, or "
        "stretch."
    )


class DataParams(ImageParams):
    """The section `data` of params.yaml."""

    cache_gib: float = Field(
        ge=0, description="Decoded pixels are cached up to this size, GiB; 0 = no cache."
    )

    @property
    def decode_params(self) -> ImageParams:
        """Only what decides about pixels."""
        return ImageParams(**self.model_dump(exclude={"cache_gib"}))


@dataclass(frozen=True)
class Decoded:
    """One image.

    Attributes:
        pixels: upright, opaque, 8-bit: mode RGB, or L when the file stores gray (a third of the
            work for whatever looks at the pixels next).
        mode: Pillow's mode as stored in the file, e.g. L, P, RGBA, I;16.
        format: Pillow's format name, found in the content.
        doubts: why the pixels may not be what was photographed, by the rule that says so.
    """

    pixels: Image.Image
    mode: str
    format: str
    doubts: tuple[tuple[DoubtRule, str], ...] = ()

    @property
    def rgb(self) -> Image.Image:
        """The pixels in mode RGB, whatever the file stores."""
        return self.pixels.convert("RGB")

    @property
    def width(self) -> int:
        """Pixels, after orientation."""
        return self.pixels.width

    @property
    def height(self) -> int:
        """Pixels, after orientation."""
        return self.pixels.height


# The decoders are called directly: no other plug-in of Pillow can ever see a file, and a JPEG with
# further images behind the first (MPO, written by phones) is read as the JPEG it is.
_DECODERS: Mapping[Format, type[ImageFile]] = MappingProxyType(
    {
        "PNG": PngImageFile,
        "JPEG": JpegImageFile,
        "WEBP": WebPImageFile,
        "BMP": BmpImageFile,
        "TIFF": TiffImageFile,
        "GIF": GifImageFile,
        "PPM": PpmImageFile,
    }
)


_WITHOUT_METADATA: Mapping[Format, Callable[[bytes, int], bytes]] = MappingProxyType(
    {
        "PNG": png.without_metadata,
        "JPEG": jpeg.without_metadata,
    }
)

# Of WebP, Pillow forgives metadata what is wrong with them, but not their size.
_WITHOUT_EXCESS: Mapping[Format, Callable[[bytes, int], bytes]] = MappingProxyType(
    {**_WITHOUT_METADATA, "WEBP": webp.without_metadata}
)

# EXIF 2.32, tag 0x0112: how the stored image must be turned to be upright.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = MappingProxyType(
    {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
)


def decode(content: bytes, params: ImageParams, sides: SideLimits = ANY_SIDES) -> Decoded:
    """Decode a whole file to upright, opaque, 8-bit sRGB. Safe to call from several threads.

    16 bits become 8 by `params.white_level`, embedded color profiles are carried over to sRGB,
    transparency is composited on `params.background`, broken metadata is ignored.

    Args:
        content: the file.
        params: how its bytes become pixels.
        sides: those that the image may have.

    Raises:
        InvalidImage: not an allowed image, damaged, truncated, or over `params.max_pixels`;
            `InvalidSides` before any pixel is decoded.
    """
    kind = signatures.find_format(content, params.formats)
    _silence_pillow()
    try:
        return _decode(_without_excess(content, kind), kind, params, sides)
    except InvalidImage:
        raise
    except Exception as error:  # decoders raise anything on damaged bytes
        sound = _WITHOUT_METADATA[kind](content, 1) if kind in _WITHOUT_METADATA else content
        if sound != content:
            # Pillow reads metadata together with the pixels: what failed may be the metadata.
            return decode(sound, params, sides)
        raise InvalidImage(_explain(error, content, kind), kind) from error


def _without_excess(content: bytes, kind: Format) -> bytes:
    """The file, or what decides about its pixels if there is far more beside that."""
    if len(content) <= headers.LARGEST_METADATA or kind not in _WITHOUT_EXCESS:
        return content
    return _WITHOUT_EXCESS[kind](content, headers.LARGEST_METADATA)


def _decode(content: bytes, kind: Format, params: ImageParams, sides: SideLimits) -> Decoded:
    rules = HeaderRules(params.max_pixels, params.multi_frame == "first", sides)
    rules.check_file(content, kind)
    inverted = False
    if kind == "TIFF":
        content = tiff.with_readable_tags(content)
        tiff.check_first_image(content)
        content, inverted = tiff.with_black_as_zero(content)
    with _DECODERS[kind](BytesIO(content)) as image:
        rules.check(image, content, kind)
        mode = image.mode
        if isinstance(image, JpegImageFile):
            eight_bit, range_doubt = jpeg.decode(content, image), ""
        else:
            eight_bit, range_doubt = deep_samples.to_8_bit(
                image, content, kind, white_level=params.white_level, inverted=inverted
            )
        turn = _UPRIGHT.get(_orientation(image))
        profile = image.info.get("icc_profile")
        pixels, color_doubt = compositing.flatten(eight_bit, profile, params.background)
    doubts: tuple[tuple[DoubtRule, str], ...] = (
        ("value_range", range_doubt),
        ("one_color", color_doubt),
    )
    upright = pixels.transpose(turn) if turn is not None else pixels
    return Decoded(upright, mode, kind, tuple(doubt for doubt in doubts if doubt[1]))


def resize_to_square(image: Image.Image, size: int, params: ImageParams) -> NDArray[np.uint8]:
    """Resize an image of mode RGB or L to (size, size, 3), bilinear with antialias.

    `crop` keeps the center of the longer side, `pad` shows everything on the background, `stretch`
    ignores the aspect ratio. Memory stays in the order of the result at any aspect ratio.
    """
    if params.resize_mode == "pad":
        scale = size / max(image.size)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        square = Image.new("RGB", (size, size), params.background)
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        square.paste(image.resize(inner, Resampling.BILINEAR), corner)
        return np.asarray(square)
    left = top = 0.0
    right, bottom = map(float, image.size)
    if params.resize_mode == "crop":
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        right, bottom = left + side, top + side
    # Resizing a box is resizing and then cropping, without the part that would be thrown away.
    box = (left, top, right, bottom)
    return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=box).convert("RGB"))


def load_image(content: bytes, size: int, params: ImageParams) -> NDArray[np.uint8]:
    """File bytes to network input pixels: (size, size, 3). Raises `InvalidImage`."""
    return resize_to_square(decode(content, params).pixels, size, params)


def _orientation(image: ImageFile) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - broken metadata is no reason to refuse valid pixels
        return 1


def _explain(error: Exception, content: bytes, kind: Format) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, (EOFError, struct.error)) or _CUT.search(text):
        return "truncated"
    if isinstance(error, SyntaxError) and kind == "TIFF" and (samples := tiff.explain(content)):
        return samples
    if isinstance(error, (MemoryError, Image.DecompressionBombError)):
        return "more pixels than the decoder can hold"
    return f"damaged {kind} ({text[:100] or type(error).__name__})"


# The words of Pillow, and of NumPy for PPM, when a file ends too soon.
_CUT = re.compile(
    "truncated|not enough image data|Reached EOF|smaller than requested", re.IGNORECASE
)

_SILENCED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_SILENCING = threading.Lock()


def _silence_pillow() -> None:
    # catch_warnings is not safe between threads, so one filter serves the whole process.
    if _SILENCED not in warnings.filters:
        with _SILENCING:
            warnings.filterwarnings("ignore", module=r"PIL\.")
