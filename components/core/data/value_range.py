"""More than 8 bits a sample become 8: which value is white, and which files leave it open.

A file of 16 bits says where its range ends by no trustworthy mark: cameras, X-ray machines and
microscopes write 10, 12 or 14 bits into it as they are. PNG's sBIT and TIFF's MaxSampleValue are
about significant bits and statistics, not about white (PNG specification, 11.3.2.7; TIFF 6.0,
page 36).
"""

import numpy as np
from numpy.typing import NDArray

from components.core.data.containers import Format, InvalidImage

FULL_RANGE = 65_535

# Below a quarter of the range there may be no more than 14 bits of data.
_DOUBTFUL = 1 << 14
_USUAL_BITS = (8, 10, 12, 14)


def white_of(stated: int, white_level: int | None) -> int:
    """The sample that becomes 255.

    Args:
        stated: where the range ends by the file's own header, e.g. 4095 for 12 bits a sample.
        white_level: the setting; it speaks of files that claim to use all 16 bits.
    """
    return white_level if white_level is not None and stated == FULL_RANGE else stated


def to_8_bit(samples: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    """Samples 0..`white` to 0..255, rounded half up; a full range keeps its high bytes.

    High bytes are what Pillow gives for color of 16 bits, so gray and color stay alike.
    """
    if white == FULL_RANGE:
        return (samples >> 8).astype(np.uint8)
    table = (np.arange(white + 1) * 510 + white) // (2 * white)
    return table.astype(np.uint8)[samples]


def check_range(largest: int, white: int, kind: Format) -> None:
    """Refuse samples above white. Raises `InvalidImage`."""
    if largest > white:
        raise InvalidImage(
            f"a sample of {largest:,}, above data.white_level {white:,}; raise the setting", kind
        )


def doubt(largest: int, stated: int, white_level: int | None) -> str:
    """Why the samples may not use the range that the file claims; empty without doubt."""
    if white_level is not None or stated != FULL_RANGE or not 0 < largest < _DOUBTFUL:
        return ""
    bits = next(bits for bits in _USUAL_BITS if largest < 1 << bits)
    return (
        f"largest value {largest:,} of {FULL_RANGE:,}: {bits} bits of data? "
        f"set data.white_level: {(1 << bits) - 1}"
    )
