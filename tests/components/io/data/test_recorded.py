"""The images are compared with what DVC recorded: a swapped object of its cache is found."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from components.core.errors import InvalidData
from components.io.data import recorded
from components.io.data.scan import scan
from tests import factories

ImageBytes = Callable[..., bytes]

POINTER = "outs:\n- md5: {}\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: images\n"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def record(images: Path, cache: Path) -> Path:
    """As `dvc add` does: the list of all files, and the pointer to it. Returns the list."""
    listing = [
        {"md5": md5(path.read_bytes()), "relpath": path.relative_to(images).as_posix()}
        for path in sorted(images.rglob("*.png"))
    ]
    content = json.dumps(listing).encode()
    name = f"{md5(content)}.dir"
    place = cache / "files/md5" / name[:2] / name[2:]
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    images.with_name("images.dvc").write_text(POINTER.format(name))
    return place


@pytest.fixture
def images(tmp_path: Path, image_bytes: ImageBytes) -> Path:
    """Two images of two classes, in a repository of DVC."""
    (tmp_path / ".dvc").mkdir()
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "data/images" / name).mkdir(parents=True)
        (tmp_path / f"data/images/{name}/1.png").write_bytes(image_bytes(number))
    return tmp_path / "data/images"


def statuses(images: Path) -> dict[str, str]:
    params, md5s = factories.image_params(), recorded.read(images).md5s
    found = scan(images, exclude=[], params=params, cache=images / ".cache", md5s=md5s)
    return {f.path: f.reason or f.status for f in found.files if f.status != "ignored"}


def swap(images: Path) -> None:
    (images / "dog/1.png").write_bytes((images / "cat/1.png").read_bytes())


@pytest.mark.row("D38")
def test_another_image_under_a_recorded_name_is_not_used(images: Path) -> None:
    record(images, images.parents[1] / ".dvc/cache")
    assert set(statuses(images).values()) == {"used"}
    swap(images)
    found = statuses(images)
    assert found["cat/1.png"] == "used"
    assert found["dog/1.png"].startswith(f"not the bytes in {images}.dvc; `dvc add` an edit, else")


def test_a_file_that_was_not_recorded_yet_is_used(images: Path, image_bytes: ImageBytes) -> None:
    record(images, images.parents[1] / ".dvc/cache")
    (images / "dog/2.png").write_bytes(image_bytes(2))
    assert statuses(images)["dog/2.png"] == "used"


@pytest.mark.parametrize("file", ["config", "config.local"])
def test_the_cache_may_lie_elsewhere(images: Path, tmp_path: Path, file: str) -> None:
    (tmp_path / ".dvc" / file).write_text("[cache]\n    dir = ../elsewhere\n")
    record(images, tmp_path / "elsewhere")
    assert set(recorded.read(images).md5s) == {"cat/1.png", "dog/1.png"}


def test_without_a_pointer_there_is_nothing_to_compare_with(images: Path) -> None:
    assert recorded.read(images) == recorded.Recorded()


@pytest.mark.parametrize(
    ("lack", "why"),
    [
        ("list", r"its list \S+\.dir is not there; `dvc pull` fetches it"),
        ("version 2", r"it is not as DVC 3 writes it; `dvc add \S+/data/images` does"),
        ("repository", "it is in no repository of DVC"),
        ("config", "File contains no section headers.*"),
        ("text", ".*can't decode byte.*"),
    ],
)
def test_where_nothing_is_known_nothing_is_compared_and_why_is_said(
    images: Path, lack: str, why: str
) -> None:
    place = record(images, images.parents[1] / ".dvc/cache")
    pointer = images.with_name("images.dvc")
    if lack == "list":
        place.unlink()
    elif lack == "version 2":
        pointer.write_text(pointer.read_text().replace("  hash: md5\n", ""))
    elif lack == "config":
        (images.parents[1] / ".dvc/config").write_text("cache")
    elif lack == "text":
        pointer.write_bytes(b"\xff")
    else:
        (images.parents[1] / ".dvc").rename(images.parents[1] / "no repository")
    found = recorded.read(images)
    assert found.md5s == {}
    assert re.fullmatch(why, found.unknown)
    swap(images)
    assert set(statuses(images).values()) == {"used"}


@pytest.mark.row("D38")
@pytest.mark.parametrize("content", [b"", b"[]", b"\x00\xff"])
def test_a_damaged_list_is_refused_by_name(images: Path, content: bytes) -> None:
    place = record(images, images.parents[1] / ".dvc/cache")
    place.write_bytes(content)
    with pytest.raises(InvalidData, match=f"{place}: is damaged.*delete it and run `dvc pull`"):
        recorded.read(images)
