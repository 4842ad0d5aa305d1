"""Images of each class on validate's page, on real folders."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.components.validate.test_validate import Ran, validate

Folders = Callable[[Path, dict[str, int]], Path]
IMAGES = r'<img src="data:image/jpeg;base64,[^"]+" alt="(.+?)">'


def shown(ran: Ran) -> list[str]:
    return re.findall(IMAGES, ran.page.partition("<h2>Images</h2>")[2])


def test_four_images_of_the_first_six_classes_are_shown_evenly_over_their_names(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = class_folders(tmp_path / "images", {f"c{k}": 12 for k in range(8)})
    ran = validate(images)
    names = sorted(path.name for path in (images / "c0").iterdir())
    assert shown(ran) == [f"c{k}/{names[place]}" for k in range(6) for place in (0, 3, 6, 9)]
    assert "and 2 more classes" in ran.page
    assert validate(images).page == ran.page


def test_what_failed_shows_its_problems_and_no_samples(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = class_folders(tmp_path / "images", {"cat": 14, "dog": 14})
    (images / "cat/broken.png").write_bytes(b"no image")
    ran = validate(images)
    assert ran.failed
    assert "broken.png" in ran.page
    assert "<h2>Images</h2>" not in ran.page
