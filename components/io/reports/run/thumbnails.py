"""Images of the page, within a budget of bytes, so that no run makes a page that is too large."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from components.core.data.decoding import ImageParams
from components.io.reports import pages

# Bytes of all JPEGs together; as text a page holds them a third larger.
BUDGET = 2_800_000


class Thumbnails:
    """Small JPEGs as data URIs by path; what comes first is shown first.

    Attributes:
        uris: those that are shown.
    """

    def __init__(self, images: Path, params: ImageParams, side: int) -> None:
        self._images, self._params, self._side = images, params, side
        self._left = BUDGET
        self.uris: dict[str, str] = {}

    def add(self, paths: Iterable[str]) -> None:
        """Show these images, as far as the budget goes and they can be read."""
        new = (path for path in dict.fromkeys(paths) if path not in self.uris and self._left > 0)
        for path in new:
            found = pages.thumbnails(self._images, [path], self._params, side=self._side)
            for jpeg in found.values():
                self.uris[path] = self.embed(jpeg)

    def embed(self, jpeg: bytes) -> str:
        """A JPEG that was made elsewhere, as a data URI; empty beyond the budget."""
        if self._left <= 0:
            return ""
        self._left -= len(jpeg)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
