"""File formats: what a file is, and what each format needs besides its decoder."""

from typing import Literal

Format = Literal["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"]


class InvalidImage(ValueError):
    """The bytes are no image that may be used. The text is a short reason.

    Attributes:
        format: what the content is, where it is a known image format; otherwise empty.
    """

    def __init__(self, reason: str, format: str = "") -> None:  # noqa: A002
        super().__init__(reason)
        self.format = format
