"""What the scan of the images ignores, DVC ignores too: it changes no hash, and runs no stage."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pathspec import PathSpec

from components.core.data.names import IGNORED_NAMES, is_ignored
from tests.components.conftest import ROOT

Ignored = PathSpec[Any]

# What operating systems, storage boxes and version control leave; more is read from the scan.
NAMES = [
    ".DS_Store",
    "._3.png",
    ".hidden",
    "Thumbs.db",
    "Thumbs.db:encryptable",
    "ehthumbs.db",
    "desktop.ini",
    "Icon\r",
    "3.png:Zone.Identifier",
    "$RECYCLE.BIN",
    "RECYCLER",
    "found.000",
    "System Volume Information",
    "lost+found",
    "__MACOSX",
    "@eaDir",
    "@Recycle",
    "@Recently-Snapshot",
    "#recycle",
    "#snapshot",
    "cat.dvc",
]

# Classes and files that look a little like it.
IMAGES = ["3.png", "icons", "icon", "Iconic", "found", "found.0", "lost", "recycle", "recycled"]
IMAGES += ["cache", "mlartifacts", "snapshot", "thumbs", "Thumbs.png", "dvc", "cat#1", "zone"]
IMAGES += ["recycler"]


def named() -> Iterator[str]:
    """Names of the scan's own globs: each with something in place of what a glob leaves open."""
    for glob in IGNORED_NAMES:
        yield re.sub(r"\[0-9\]", "7", glob.replace("*", "x").replace("?", "x"))


@pytest.fixture(scope="module")
def ignored() -> Ignored:
    # As DVC reads it: with Python's line ends, stripped.
    lines = [line.strip() for line in (ROOT / ".dvcignore").open(encoding="utf-8")]
    return PathSpec.from_lines("gitignore", lines)


@pytest.mark.parametrize("name", [*NAMES, *named()])
def test_junk_is_ignored_at_every_depth_and_in_capitals(ignored: Ignored, name: str) -> None:
    for spelled in {name, name.lower(), name.upper(), name.capitalize()}:
        if not is_ignored(spelled):  # a pattern in capitals means just these
            continue
        assert ignored.match_file(f"data/images/{spelled}")
        assert ignored.match_file(f"data/images/cat/deep/{spelled}")
        assert ignored.match_file(f"data/images/cat/{spelled}/3.png")


@pytest.mark.parametrize("name", IMAGES)
def test_images_and_classes_are_not(ignored: Ignored, name: str) -> None:
    assert not is_ignored(name)
    assert not ignored.match_file(f"data/images/{name}")
    assert not ignored.match_file(f"data/images/{name}/3.png")


@pytest.mark.parametrize(
    "path", ["data/images.dvc", "dvc.yaml", "params.yaml", "components/core/artifacts.py"]
)
def test_the_project_itself_is_not(ignored: Ignored, path: str) -> None:
    assert not ignored.match_file(path)


def test_junk_between_code_and_outputs_is_ignored_too(ignored: Ignored) -> None:
    for folder in ("components/core", "artifacts/train/model", "artifacts/register/comparison"):
        for name in (".DS_Store", "._card.json", "Thumbs.db", "desktop.ini"):
            assert ignored.match_file(f"{folder}/{name}")
