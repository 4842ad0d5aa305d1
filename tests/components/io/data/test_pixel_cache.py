"""Decode once: cached pixels are the decoded ones, or they are decoded again."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from components.core.data.decoding import DataParams, load_image
from components.core.errors import ChangedInput, PipelineError
from components.core.training.inference import ImageArray
from components.io.data import pixel_cache
from components.io.data.pixel_cache import open_pixels
from tests import factories

DATA = DataParams(**factories.image_params(background=(0, 0, 0)).model_dump(), cache_gib=1.0)
COUNT, SIZE = 10, 16
BYTES = COUNT * SIZE * SIZE * 3


class Folder:
    """Images, their manifest rows, and an empty cache."""

    def __init__(self, root: Path) -> None:
        self.images, self.cache = root / "images", root / "cache"
        paths = sorted(p.relative_to(self.images).as_posix() for p in self.images.rglob("*.png"))
        digests = [hashlib.sha256((self.images / p).read_bytes()).hexdigest() for p in paths]
        self.rows = pd.DataFrame({"path": paths, "sha256": digests})

    def open(self, data: DataParams = DATA, size: int = SIZE) -> ImageArray:
        return open_pixels(self.rows, self.images, self.cache, data, size)

    def decoded(self, data: DataParams = DATA, size: int = SIZE) -> NDArray[np.uint8]:
        contents = [(self.images / path).read_bytes() for path in self.rows["path"]]
        return np.stack([load_image(content, size, data.decode_params) for content in contents])

    @property
    def arrays(self) -> list[Path]:
        return sorted(self.cache.glob("*.npy"))


@pytest.fixture
def folder(tmp_path: Path, class_folders: Callable[..., Path]) -> Folder:
    class_folders(tmp_path / "images", {"cat": 6, "dog": 4})
    return Folder(tmp_path)


def limited(gib: float) -> DataParams:
    return DATA.model_copy(update={"cache_gib": gib})


def test_cached_pixels_are_the_decoded_ones_in_the_order_of_the_rows(folder: Folder) -> None:
    pixels = folder.open()
    assert len(pixels) == COUNT
    assert np.array_equal(pixels[:], folder.decoded())
    folder.rows = folder.rows.iloc[::-1].reset_index(drop=True)
    assert np.array_equal(folder.open()[:], folder.decoded())


@pytest.mark.parametrize("gib", [1.0, 0.0])
def test_images_are_read_by_slice_and_by_index(folder: Folder, gib: float) -> None:
    pixels, expected = folder.open(limited(gib)), folder.decoded()
    for index in (slice(2, 5), slice(8, 99), slice(None), np.array([3, 0, 3]), np.array([9])):
        found = pixels[index]
        assert found.dtype == np.uint8
        assert np.array_equal(found, expected[index])


@pytest.mark.parametrize("gib", [1.0, 0.0])
def test_what_is_read_is_a_copy_that_may_be_written(folder: Folder, gib: float) -> None:
    pixels = folder.open(limited(gib))
    for index in (slice(0, 2), np.array([0, 1])):
        found = pixels[index]
        found[:] = 0
        assert pixels[index].any()


def test_the_second_opening_decodes_nothing(folder: Folder) -> None:
    expected = folder.open()[:]
    shutil.rmtree(folder.images)
    assert np.array_equal(folder.open()[:], expected)


@pytest.mark.parametrize("place", [0, 128, -1])
def test_a_flipped_byte_in_the_cache_is_built_again(folder: Folder, place: int) -> None:
    expected = folder.open()[:]
    content = bytearray(folder.arrays[0].read_bytes())
    content[place] ^= 1
    folder.arrays[0].write_bytes(content)
    assert np.array_equal(folder.open()[:], expected)


@pytest.mark.parametrize("note", [None, "", "{", "null", "[]", '"text"', "{}", '{"sha256": "0"}'])
def test_a_cache_without_a_valid_note_is_built_again(folder: Folder, note: str | None) -> None:
    expected = folder.open()[:]
    path = folder.arrays[0].with_suffix(".json")
    if note is None:
        path.unlink()
    else:
        path.write_text(note)
    folder.arrays[0].write_bytes(b"damaged")
    assert np.array_equal(folder.open()[:], expected)
    assert json.loads(path.read_text())["sha256"]


@pytest.mark.row("D03")
@pytest.mark.parametrize("gib", [1.0, 0.0])
@pytest.mark.parametrize("keep_time", [False, True])
def test_a_swapped_byte_in_an_image_is_refused(folder: Folder, gib: float, keep_time: bool) -> None:
    path = folder.images / folder.rows["path"][3]
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ChangedInput) as refused:
        folder.open(limited(gib))[:]
    assert str(refused.value).startswith(f"{path}: its bytes have changed since validate; ")
    assert not folder.arrays


@pytest.mark.parametrize("gib", [1.0, 0.0])
def test_a_missing_image_is_refused(folder: Folder, gib: float) -> None:
    path = folder.images / folder.rows["path"][3]
    path.unlink()
    with pytest.raises(ChangedInput, match="could not be read \\(No such file or directory\\)"):
        folder.open(limited(gib))[:]
    assert list(folder.cache.iterdir()) == []


def test_an_image_that_can_no_longer_be_decoded_is_refused(folder: Folder) -> None:
    jpeg_only = DATA.model_copy(update={"formats": ["JPEG"]})
    with pytest.raises(ChangedInput, match="validate could read it, but now: PNG, not one of JPEG"):
        folder.open(jpeg_only)


@pytest.mark.parametrize("gib", [0.0, (BYTES - 1) / 2**30])
def test_over_its_limit_the_images_stream_with_equal_pixels(
    folder: Folder, gib: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        pixels = folder.open(limited(gib))
    assert len(pixels) == COUNT
    assert np.array_equal(pixels[:], folder.decoded())
    assert folder.arrays == []
    assert "images are decoded again in every epoch" in caplog.text


@pytest.mark.row("R08")
def test_a_disk_without_room_streams_too(folder: Folder, small_disk: Path) -> None:
    folder.cache = small_disk
    pixels = folder.open(size=64)  # 120 KiB
    assert np.array_equal(pixels[:], folder.decoded(size=64))
    assert folder.arrays == []


def test_the_least_recently_used_files_make_room(folder: Folder) -> None:
    three = limited((3 * BYTES + 1000) / 2**30)
    modes: dict[Path, str] = {}
    for age, resize_mode in ((30, "crop"), (20, "pad"), (10, "stretch")):
        folder.open(three.model_copy(update={"resize_mode": resize_mode}))
        (new,) = set(folder.arrays) - set(modes)
        modes[new] = resize_mode
        os.utime(new, (1_000_000_000 - age, 1_000_000_000 - age))
    folder.open(three)  # used again: now the youngest
    folder.open(three.model_copy(update={"background": (9, 9, 9)}))
    kept = [modes[path] for path in folder.arrays if path in modes]
    assert sorted(kept) == ["crop", "stretch"]
    assert sum(path.stat().st_size for path in folder.arrays) <= 3 * BYTES + 1000
    assert {p.stem for p in folder.cache.glob("*.json")} == {p.stem for p in folder.arrays}


def test_everything_that_decides_about_pixels_is_in_the_key(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.open()
    seen = set(folder.arrays)
    changes: list[Callable[[], object]] = [
        lambda: folder.open(size=32),
        lambda: folder.open(DATA.model_copy(update={"resize_mode": "pad"})),
        lambda: folder.open(DATA.model_copy(update={"background": (1, 0, 0)})),
        lambda: monkeypatch.setattr(pixel_cache, "CONVERSION_VERSION", 99) or folder.open(),
    ]
    for change in changes:
        change()
        assert len(set(folder.arrays) - seen) == 1
        seen = set(folder.arrays)
    folder.rows = folder.rows.drop(index=4).reset_index(drop=True)
    folder.open()
    assert len(folder.arrays) == len(seen) + 1


def test_what_decides_nothing_about_pixels_is_not_in_the_key(folder: Folder) -> None:
    folder.open()
    folder.open(limited(2.0))
    folder.rows["path"] = folder.rows["path"].map(lambda path: f"moved/{path}")
    folder.open()
    assert len(folder.arrays) == 1


OPEN = """
import sys
from pathlib import Path
import pandas as pd
from components.core.data.decoding import DataParams
from components.io.data.pixel_cache import open_pixels
from tests import factories
root, data = Path(sys.argv[1]), DataParams.model_validate_json(sys.argv[2])
rows = pd.read_json(root / "rows.json")
print("ready", flush=True)
sys.stdin.readline()
print(int(open_pixels(rows, root / "images", root / "cache", data, 16)[:].sum()))
"""


def test_two_processes_that_build_at_once_are_both_right(folder: Folder) -> None:
    root = folder.images.parent
    folder.rows.to_json(root / "rows.json")
    command = [sys.executable, "-c", OPEN, str(root), DATA.model_dump_json()]
    builders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("go\n")
        builder.stdin.flush()
    outputs = [builder.communicate(timeout=60)[0] for builder in builders]
    assert outputs == [f"{folder.decoded().sum()}\n"] * 2
    assert len(folder.arrays) == 1


def test_files_that_another_process_deletes_are_no_error(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.open()
    glob = Path.glob

    def late(self: Path, pattern: str) -> list[Path]:
        return [*glob(self, pattern), self / "gone.npy"]

    monkeypatch.setattr(Path, "glob", late)
    assert np.array_equal(folder.open(size=32)[:], folder.decoded(size=32))


def test_a_disk_that_filled_up_meanwhile_is_an_error_and_not_a_crash(
    folder: Folder, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lots = shutil.disk_usage(folder.images)
    monkeypatch.setattr("components.io.data.pixel_cache.shutil.disk_usage", lambda _: lots)
    folder.cache = small_disk
    with pytest.raises(PipelineError, match="could not be written"):
        folder.open(size=64)
    assert list(small_disk.iterdir()) == []
