"""Every page is one self-contained file; thumbnails show whole images."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.io.reports.pages import render, thumbnails
from tests import factories


def test_a_missing_value_is_an_error_not_a_blank() -> None:
    with pytest.raises(Exception, match=r"report.* is undefined"):
        render("validation.html", rules=[])


PARAMS = factories.image_params(formats=["PNG"], max_pixels=10_000, background=(0, 0, 0))


def test_thumbnails_show_the_whole_image(tmp_path: Path, image_bytes: Callable[..., bytes]) -> None:
    (tmp_path / "wide.png").write_bytes(image_bytes(size=(80, 40), color=(250, 250, 250)))
    jpegs = thumbnails(tmp_path, ["wide.png"], PARAMS, side=64)
    pixels = np.asarray(Image.open(BytesIO(jpegs["wide.png"])))
    assert pixels.shape == (64, 64, 3)
    assert pixels[:14].max() < 30
    assert pixels[20:44].min() > 150
    assert jpegs == thumbnails(tmp_path, ["wide.png"], PARAMS, side=64)


def test_an_image_that_cannot_be_read_is_left_out(
    tmp_path: Path, image_bytes: Callable[..., bytes]
) -> None:
    (tmp_path / "good.png").write_bytes(image_bytes())
    (tmp_path / "large.png").write_bytes(image_bytes(size=(200, 100)))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "link.png").symlink_to(tmp_path / "good.png")
    (tmp_path / "folder.png").mkdir()
    names = ["absent.png", "large.png", "text.png", "link.png", "folder.png", "good.png"]
    assert list(thumbnails(tmp_path, names, PARAMS, side=16)) == ["good.png"]
