"""Links into DVC's cache are images; no other link brings anything in."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.io.data import links
from components.io.data.pixel_cache import read_unchanged
from components.io.data.scan import read_regular, scan
from tests import factories

PARAMS = factories.image_params()
ImageBytes = Callable[..., bytes]


def store(cache: Path, content: bytes, name: str = "") -> Path:
    """Put bytes where DVC keeps them, or under the `name` of others."""
    digest = name or hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = cache / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "data/images/cat").mkdir(parents=True)
    return tmp_path / "data/images"


def found(images: Path) -> dict[str, tuple[str, str]]:
    scanned = scan(images, exclude=[], params=PARAMS, cache=images.parent / "cache")
    return {file.path: (file.status, file.reason) for file in scanned.files}


@pytest.mark.parametrize("cache", [".dvc/cache/files/md5", ".dvc/cache", "other disk/files/md5"])
def test_a_link_to_an_object_is_an_image_for_every_step(
    images: Path, tmp_path: Path, image_bytes: ImageBytes, cache: str
) -> None:
    content = image_bytes(1)
    target = store(tmp_path / cache, content)
    direct, relative, chain = (images / "cat" / f"{name}.png" for name in "abc")
    direct.symlink_to(target)
    relative.symlink_to(os.path.relpath(target, relative.parent))
    chain.symlink_to("a.png")
    assert {status for status, _ in found(images).values()} == {"used"}
    for path in (direct, relative, chain):
        assert read_regular(path, PARAMS) == content
        assert read_unchanged(path, hashlib.sha256(content).hexdigest()) == content
    assert links.foreign_links(images) == []
    assert links.missing_objects(images) == []


def test_a_text_that_dvc_2_stored_by_its_unix_lines_is_read(images: Path, tmp_path: Path) -> None:
    content = b"P2\r\n2 1\r\n255\r\n0 9\r\n"
    name = hashlib.md5(content.replace(b"\r\n", b"\n"), usedforsecurity=False).hexdigest()
    (images / "cat/a.pgm").symlink_to(store(tmp_path / "cache", content, name))
    assert read_regular(images / "cat/a.pgm", PARAMS) == content


def test_a_missing_object_is_named_with_the_way_to_get_it(images: Path, tmp_path: Path) -> None:
    (images / "cat/a.png").symlink_to(tmp_path / f"cache/files/md5/ab/{'0' * 30}")
    assert found(images) == {
        "cat/a.png": ("quarantined", "a link to a missing cache object; run `dvc checkout`")
    }
    assert links.missing_objects(images) == ["cat/a.png"]
    assert links.foreign_links(images) == []


def test_a_private_file_does_not_come_in_by_any_link(
    images: Path, tmp_path: Path, image_bytes: ImageBytes
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(image_bytes(2))
    # A file that only looks like an object, and one behind a folder that is a link.
    fake = store(tmp_path / "files/md5", secret.read_bytes(), "ab" + "0" * 30)
    store(tmp_path / "cache", b"whole", "").rename(tmp_path / "renamed")
    foreign = {
        "cat/direct.png": secret,
        "cat/relative.png": Path("../../../secret.png"),
        "cat/upper.png": tmp_path / f"AB/{'0' * 30}",
        "cat/dangling.png": Path("nowhere"),
        "cat/loop.png": Path("loop.png"),
        "folder": tmp_path,
    }
    for name, target in foreign.items():
        (images / name).symlink_to(target)
    (images / "cat/fake.png").symlink_to(fake)
    rows = found(images)
    assert {rows[name] for name in foreign} == {("quarantined", "a symbolic link")}
    status, reason = rows["cat/fake.png"]
    assert (status, "a link to a damaged cache object" in reason) == ("quarantined", True)
    assert links.foreign_links(images) == sorted((n, str(t)) for n, t in foreign.items())


def test_dvc_itself_links_so(images: Path, tmp_path: Path, image_bytes: ImageBytes) -> None:
    (images / "cat/a.png").write_bytes(image_bytes(3))
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for words in (["init", "--no-scm"], ["config", "cache.type", "symlink"], ["add", images]):
        command = [sys.executable, "-m", "dvc", *words, "-q"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (images / "cat/a.png").is_symlink()
    assert found(images) == {"cat/a.png": ("used", "")}
