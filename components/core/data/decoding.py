"""Bytes to pixels, in one way: the same for validation, training, evaluation and serving.

bytes --sniff, allow-list--> decoder --pixel cap, full decode--> upright 8-bit RGB --> square
"""

import re
import struct
import threading
import warnings
from collections.abc import Mapping
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
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pydantic import BaseModel, ConfigDict, Field

# Part of every key under which pixels and what is known of them are cached: raise it when the same
# bytes give other pixels or another fingerprint.
CONVERSION_VERSION = 2

Format = Literal["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"]
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


class InvalidImage(ValueError):
    """The bytes are no image that may be used. The text is a short reason.

    Attributes:
        format: what the content is, where it is a known image format; otherwise empty.
    """

    def __init__(self, reason: str, format: str = "") -> None:  # noqa: A002
        super().__init__(reason)
        self.format = format


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
    }
)

_SIGNATURES: tuple[tuple[re.Pattern[bytes], Format], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
)

_NON_IMAGES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"....ftyp", re.DOTALL), "HEIC, AVIF or a video"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer (run `git lfs pull`)"),
    (re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]{1,512}\Z"), "text/HTML"),
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


def decode(content: bytes, params: ImageParams) -> Decoded:
    """Decode a whole file to upright, opaque, 8-bit RGB. Safe to call from several threads.

    16-bit channels keep their high byte, transparency is composited on `params.background`, broken
    metadata is ignored.

    Raises:
        InvalidImage: not an allowed image, damaged, truncated, or over `params.max_pixels`.
    """
    kind = _sniff(content, params)
    _silence_pillow()
    try:
        with _DECODERS[kind](BytesIO(content)) as image:
            _check_header(image, params, kind)
            mode = image.mode
            image.load()
            turn = _UPRIGHT.get(_orientation(image))
            pixels = _flatten(image, params.background)
    except InvalidImage:
        raise
    except Exception as error:  # decoders raise anything on damaged bytes
        raise InvalidImage(_explain(error, kind), kind) from error
    return Decoded(pixels.transpose(turn) if turn is not None else pixels, mode, kind)


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


def _sniff(content: bytes, params: ImageParams) -> Format:
    if not content:
        raise InvalidImage("zero bytes")
    head = content[:512]
    for signature, kind in _SIGNATURES:
        if signature.match(head):
            if kind not in params.formats:
                raise InvalidImage(f"{kind}, not one of {', '.join(params.formats)}", kind)
            return kind
    names = (name for signature, name in _NON_IMAGES if signature.match(head))
    raise InvalidImage(f"{next(names, 'unknown content')}, not an image")


def _check_header(image: ImageFile, params: ImageParams, kind: Format) -> None:
    pixels = image.width * image.height
    if pixels > params.max_pixels:
        raise InvalidImage(f"{pixels:,} pixels, more than {params.max_pixels:,}", kind)
    if params.multi_frame == "refuse" and getattr(image, "is_animated", False):
        raise InvalidImage("an animation or several pages", kind)


def _orientation(image: ImageFile) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - broken metadata is no reason to refuse valid pixels
        return 1


def _flatten(image: ImageFile, background: tuple[int, int, int]) -> Image.Image:
    """Any mode to opaque RGB; opaque gray stays L."""
    eight_bit: Image.Image = image
    if image.mode.startswith(("I", "F")):
        eight_bit = _to_8_bit(image)
    if not eight_bit.has_transparency_data:
        return eight_bit.convert("L" if eight_bit.mode in ("1", "L") else "RGB")
    rgba = eight_bit.convert("RGBA")
    flat = Image.new("RGB", rgba.size, background)
    flat.paste(rgba, mask=rgba)
    return flat


def _to_8_bit(image: ImageFile) -> Image.Image:
    """High byte of 16-bit gray, as Pillow itself does for 16-bit color; never clipped."""
    if image.mode == "F":
        raise InvalidImage("32-bit float pixels; store 8 or 16 bits", image.format or "")
    gray = np.asarray(image)
    if image.mode == "I" and (gray.min() < 0 or gray.max() > 65_535):
        raise InvalidImage("32-bit integer pixels; store 8 or 16 bits", image.format or "")
    eight_bit = Image.fromarray((gray >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        eight_bit.putalpha(Image.fromarray(((gray != transparent) * 255).astype(np.uint8)))
    return eight_bit


def _explain(error: Exception, kind: Format) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, (EOFError, struct.error)) or "truncated" in text.lower():
        return "truncated"
    if isinstance(error, (MemoryError, Image.DecompressionBombError)):
        return "more pixels than the decoder can hold"
    return f"damaged {kind} ({text[:100] or type(error).__name__})"


_SILENCED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_SILENCING = threading.Lock()


def _silence_pillow() -> None:
    # catch_warnings is not safe between threads, so one filter serves the whole process.
    if _SILENCED not in warnings.filters:
        with _SILENCING:
            warnings.filterwarnings("ignore", module=r"PIL\.")
