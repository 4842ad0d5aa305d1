"""Every file found is accounted for, nothing foreign is opened, and bytes are decoded once."""

import hashlib
import os
import random
import socket
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.core.data.decoding import Decoded, ImageParams, decode
from components.core.data.files import ImageFile, Scan
from components.core.data.fingerprints import FINGERPRINT
from components.core.data.headers import SideLimits
from components.io.data import scan as module
from components.io.data.scan import list_files, scan
from tests import factories

PARAMS = factories.image_params(background=(0, 0, 0))
ImageBytes = Callable[..., bytes]


def run_scan(images: Path, *exclude: str) -> Scan:
    cache = images.parent / "cache"
    return scan(images, exclude=exclude, params=PARAMS, cache=cache)


def put(images: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return images


def by_path(found: Scan) -> dict[str, ImageFile]:
    return {file.path: file for file in found.files}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def test_a_file_is_measured(images: Path, image_bytes: ImageBytes) -> None:
    content = image_bytes(size=(40, 32))
    put(images, {"cat/a.png": content})
    scanned = run_scan(images)
    (file,) = scanned.files
    assert (file.label, file.status, file.reason, file.split) == ("cat", "used", "", "")
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.bytes == len(content)
    info = file.info
    assert (info.width, info.height, info.mode, info.format) == (40, 32, "RGB", "PNG")
    assert len(info.pixel_sha256) == 64
    assert len(info.phash) == 16
    (fingerprint,) = scanned.fingerprints([file.sha256])
    assert fingerprint.dtype == FINGERPRINT
    assert int(fingerprint["hashes"][0]) == int(info.phash, 16)


def test_what_is_listed_is_what_the_scan_finds_without_junk(
    images: Path, image_bytes: ImageBytes
) -> None:
    names = ["cat/a.png", "cat/Thumbs.db", ".hidden/a.png", "notes.txt", "cat/x\ny.png"]
    put(images, dict.fromkeys(names, b"x"))
    (images / "cat" / "link").symlink_to("nowhere")
    assert list_files(images) == {"cat/a.png", "notes.txt", "cat/x\\ny.png", "cat/link"}
    listed = {file.path for file in run_scan(images).files if file.reason != "hidden or junk file"}
    assert list_files(images) == listed


@pytest.mark.row("D19")
def test_deeper_folders_belong_to_their_class(images: Path, image_bytes: ImageBytes) -> None:
    put(images, {"cat/2024/may/a.png": image_bytes(1), "dog/b.png": image_bytes(2)})
    found = run_scan(images)
    assert [file.label for file in found.files] == ["cat", "dog"]
    assert found.class_names == ["cat", "dog"]
    assert found.split_folders == {}


def test_predefined_splits_are_kept(images: Path, image_bytes: ImageBytes) -> None:
    names = ["train/cat/a.png", "val/dog/x/b.png", "test/cat/c.png"]
    put(images, {name: image_bytes(k) for k, name in enumerate(names)})
    put(images, {"train/stray.png": image_bytes(9)})
    found = run_scan(images)
    assert found.split_folders == {"train": "train", "val": "val", "test": "test"}
    assert found.class_names == ["cat", "dog"]
    rows = by_path(found)
    assert [(rows[n].split, rows[n].label) for n in names] == [
        ("train", "cat"),
        ("val", "dog"),
        ("test", "cat"),
    ]
    assert (rows["train/stray.png"].rule, rows["train/stray.png"].label) == ("unlabeled_files", "")


def test_three_folders_are_classes_unless_they_are_exactly_the_splits(
    images: Path, image_bytes: ImageBytes
) -> None:
    put(
        images,
        {"train/a.png": image_bytes(1), "bus/b.png": image_bytes(2), "test/c.png": image_bytes(3)},
    )
    found = run_scan(images)
    assert found.split_folders == {}
    assert found.class_names == ["bus", "test", "train"]


@pytest.mark.row("D18")
def test_hidden_and_junk_files_are_ignored_and_counted(
    images: Path, image_bytes: ImageBytes
) -> None:
    junk = [
        ".DS_Store",
        "cat/Thumbs.db",
        "cat/._a.png",
        "cat/desktop.ini",
        ".ipynb_checkpoints/a.png",
        "cat/.ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/cat/._a.png",
        "cat.dvc",
        ".gitignore",
        "cat/.gitkeep",
    ]
    put(images, dict.fromkeys(junk, b"junk") | {"cat/a.png": image_bytes()})
    found = run_scan(images)
    status = Counter((file.status, file.reason) for file in found.files)
    assert status == {("used", ""): 1, ("ignored", "hidden or junk file"): len(junk)}
    assert found.class_names == ["cat"]
    assert {file.label for file in found.files if file.status == "ignored"} == {""}


def test_bins_snapshots_and_streams_are_ignored_and_counted(
    images: Path, image_bytes: ImageBytes
) -> None:
    bins = ("#recycle", "@Recycle", "@Recently-Snapshot", "$RECYCLE.BIN", "RECYCLED", "~snapshot")
    names = [f"{name}/cat/a.png" for name in bins]
    names += ["cat/a.png:Zone.Identifier", "cat/Thumbs.db:encryptable", "cat/a.png@SynoEAStream"]
    put(images, dict.fromkeys(names, image_bytes(7)) | {"cat/a.png": image_bytes(1)})
    put(images, {"recycled/b.png": image_bytes(2), "cat/10:30.png": image_bytes(3)})
    found = run_scan(images)
    status = Counter((file.status, file.reason) for file in found.files)
    assert status == {("used", ""): 3, ("ignored", "hidden or junk file"): len(names)}
    assert found.class_names == ["cat", "recycled"]


def test_a_split_under_other_names_is_kept(images: Path, image_bytes: ImageBytes) -> None:
    names = ["Seg_Train/cat/a.png", "seg_dev/dog/x/b.png", "seg_test/cat/c.png"]
    put(images, {name: image_bytes(k) for k, name in enumerate(names)})
    put(images, {"seg_test/stray.png": image_bytes(9), "notes.txt": b"x"})
    found = run_scan(images)
    assert found.split_folders == {"Seg_Train": "train", "seg_dev": "val", "seg_test": "test"}
    assert found.class_names == ["cat", "dog"]
    rows = by_path(found)
    assert [(rows[n].split, rows[n].label) for n in names] == [
        ("train", "cat"),
        ("val", "dog"),
        ("test", "cat"),
    ]
    assert rows["seg_test/stray.png"].reason == "directly in the split folder seg_test"
    assert rows["notes.txt"].reason == "not inside a class folder"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("pattern", ["caf\u00e9", "cafe\u0301/*", "*/th\u00e9*"])
def test_an_exclude_pattern_matches_however_accents_are_composed(
    images: Path, image_bytes: ImageBytes, form: Literal["NFC", "NFD"], pattern: str
) -> None:
    name = unicodedata.normalize(form, "caf\u00e9/th\u00e9 1.png")
    put(images, {name: image_bytes(1), "cat/b.png": image_bytes(2)})
    rows = by_path(run_scan(images, pattern))
    assert (rows[name].status, rows[name].reason) == ("ignored", f"excluded by {pattern}")
    assert rows["cat/b.png"].status == "used"


def test_exclude_patterns_leave_out_files_and_classes(
    images: Path, image_bytes: ImageBytes
) -> None:
    names = ["cat/a.png", "cat/draft_b.png", "dog/c.png", "owl/x/d.png", "eel/e.png"]
    put(images, {name: image_bytes(k) for k, name in enumerate(names)})
    found = run_scan(images, "*/draft_*", "dog/*", "owl")
    assert {file.path: file.reason for file in found.files} == {
        "cat/a.png": "",
        "cat/draft_b.png": "excluded by */draft_*",
        "dog/c.png": "excluded by dog/*",
        "owl/x/d.png": "excluded by owl",
        "eel/e.png": "",
    }
    assert found.class_names == ["cat", "eel"]


@pytest.mark.parametrize("pattern", ["dog", "dog/", "dog/*", "d?g", "*og*", "[d]og/*"])
def test_an_excluded_class_is_no_class(images: Path, image_bytes: ImageBytes, pattern: str) -> None:
    put(
        images,
        {"cat/a.png": image_bytes(1), "dog/b.png": image_bytes(2), "dog/x/c.png": image_bytes(3)},
    )
    found = run_scan(images, pattern)
    assert found.class_names == ["cat"]
    assert [file.status for file in found.files] == ["used", "ignored", "ignored"]


def test_every_label_is_a_class_whatever_a_pattern_says_of_the_folder(
    images: Path, image_bytes: ImageBytes
) -> None:
    # the last ? means one character, which could be the slash that ends the folder
    put(images, {"cat/a.png": image_bytes(1), "dog/b.png": image_bytes(2)})
    found = run_scan(images, "dog?")
    assert found.class_names == ["cat", "dog"]
    assert [file.status for file in found.files] == ["used", "used"]


def test_an_empty_class_folder_is_still_a_class(images: Path, image_bytes: ImageBytes) -> None:
    put(images, {"cat/a.png": image_bytes()})
    (images / "dog").mkdir()
    assert run_scan(images).class_names == ["cat", "dog"]


@pytest.mark.row("D16")
def test_links_are_never_followed(images: Path, image_bytes: ImageBytes) -> None:
    outside = put(images.parent / "outside", {"secret.png": image_bytes(7)})
    put(images, {"cat/a.png": image_bytes(1)})
    (images / "cat" / "link.png").symlink_to(outside / "secret.png")
    (images / "dog").symlink_to(outside)
    (images / "cat" / "loop").symlink_to("..")
    (images / "cat" / "broken.png").symlink_to("nowhere")
    found = run_scan(images)
    rows = by_path(found)
    for name in ("cat/link.png", "dog", "cat/loop", "cat/broken.png"):
        file = rows.pop(name)
        assert (file.status, file.rule, file.reason) == (
            "quarantined",
            "non_regular_files",
            "a symbolic link",
        )
        assert file.sha256 == ""
    assert list(rows) == ["cat/a.png"]
    assert found.class_names == ["cat"]


@pytest.mark.row("D17")
def test_fifos_and_sockets_are_never_opened(images: Path, image_bytes: ImageBytes) -> None:
    put(images, {"cat/a.png": image_bytes()})
    os.mkfifo(images / "cat" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(images / "cat" / "s.png"))
        rows = by_path(run_scan(images))
    for name in ("cat/pipe.png", "cat/s.png"):
        assert (rows[name].status, rows[name].rule) == ("quarantined", "non_regular_files")


@pytest.mark.row("D17")
def test_a_file_that_became_a_fifo_or_a_link_is_not_waited_for_or_followed(
    images: Path, image_bytes: ImageBytes
) -> None:
    put(images, {"real.png": image_bytes()})
    os.mkfifo(images / "pipe")
    (images / "link").symlink_to("real.png")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=r"regular|symbolic"):
            module.read_regular(images / name, PARAMS)


def test_a_file_larger_than_any_image_is_not_read(images: Path) -> None:
    put(images, {"cat/film.png": b""})
    os.truncate(images / "cat" / "film.png", 10 << 30)
    (file,) = run_scan(images).files
    assert file.rule == "max_unreadable"
    assert "10,737,418,240 bytes, more than 1,000,000 pixels take" in file.reason


def test_a_file_beside_the_class_folders_is_named(images: Path, image_bytes: ImageBytes) -> None:
    put(images, {"cat/a.png": image_bytes(1), "notes.txt": b"text", "b.png": image_bytes(2)})
    rows = by_path(run_scan(images))
    for name in ("notes.txt", "b.png"):
        assert (rows[name].status, rows[name].rule) == ("quarantined", "unlabeled_files")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"<html></html>", "text/HTML, not an image"),
        (b"%PDF-1.7", "a PDF, not an image"),
    ],
)
def test_what_cannot_be_decoded_is_quarantined_with_its_reason(
    images: Path, content: bytes, reason: str
) -> None:
    put(images, {"cat/a.jpg": content})
    (file,) = run_scan(images).files
    assert (file.status, file.rule, file.reason) == ("quarantined", "max_unreadable", reason)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.info.pixel_sha256 == ""


def test_a_truncated_image_is_quarantined(images: Path, image_bytes: ImageBytes) -> None:
    put(images, {"cat/a.jpg": image_bytes(kind="JPEG")[:-200]})
    (file,) = run_scan(images).files
    assert (file.rule, file.reason) == ("max_unreadable", "truncated")


def test_a_format_that_is_not_allowed_keeps_its_name(images: Path, image_bytes: ImageBytes) -> None:
    put(images, {"cat/a.png": image_bytes(kind="GIF")})
    (file,) = run_scan(images).files
    assert (file.rule, file.info.format) == ("formats", "GIF")


@pytest.mark.row("D24", "D25")
def test_strange_names_work(images: Path, image_bytes: ImageBytes) -> None:
    names = [
        "K\u00e4se 100 %/gr\u00fc\u00dfe #1?.png",
        "K\u00e4se 100 %/-rf.png",
        "\u65e5\u672c\u8a9e/\U0001f642 'x' \"y\".png",
        f"\u65e5\u672c\u8a9e/{'n' * 250}.png",
        "\u65e5\u672c\u8a9e/UPPER.JPG",
        "\u65e5\u672c\u8a9e/no suffix",
        "rtl \u202ex/<b>.png",
    ]
    put(images, {name: image_bytes(k) for k, name in enumerate(names)})
    rows = by_path(run_scan(images))
    assert set(rows) == set(names)
    assert {file.status for file in rows.values()} == {"used"}


@pytest.mark.row("D28")
def test_control_and_undecodable_characters_are_escaped_and_refused(
    images: Path, image_bytes: ImageBytes
) -> None:
    put(images, {"cat/a\nb.png": image_bytes(1), "cat/back\\slash.png": image_bytes(2)})
    raw = os.fsencode(images) + b"/cat/\xff.png"
    with open(raw, "wb") as file:  # noqa: PTH123 - pathlib refuses byte names
        file.write(image_bytes(3))
    rows = by_path(run_scan(images))
    assert set(rows) == {"cat/a\\nb.png", "cat/back\\\\slash.png", "cat/\\udcff.png"}
    assert {(file.status, file.rule) for file in rows.values()} == {
        ("quarantined", "invalid_names")
    }


@pytest.mark.row("D40")
def test_a_folder_that_cannot_be_read_is_a_finding(
    images: Path, image_bytes: ImageBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(images, {"cat/a.png": image_bytes(1), "dog/b.png": image_bytes(2)})
    listed = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    # a stand-in for mode 000, which does not stop root
    monkeypatch.setattr(os, "scandir", refuse)
    file = by_path(run_scan(images))["dog"]
    assert (file.status, file.rule) == ("quarantined", "non_regular_files")
    assert file.reason == "a folder that cannot be read (Permission denied)"


@pytest.mark.row("D36")
def test_a_file_that_vanishes_is_a_finding(
    images: Path, image_bytes: ImageBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(images, {"cat/a.png": image_bytes(1)})
    opened = os.open

    def vanish(path: Path, flags: int) -> int:
        if Path(path).name == "a.png":
            Path(path).unlink()
        return opened(path, flags)

    monkeypatch.setattr(os, "open", vanish)
    (file,) = run_scan(images).files
    assert file.rule == "max_unreadable"
    assert file.reason == "cannot be read (No such file or directory)"


def test_the_second_run_decodes_nothing(
    images: Path, image_bytes: ImageBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(images, {f"cat/{k}.png": image_bytes(k) for k in range(5)})
    first = run_scan(images)
    monkeypatch.setattr(module, "decode", None)
    again = run_scan(images)
    assert again == first
    names = [file.sha256 for file in first.files]
    assert again.fingerprints(names).tobytes() == first.fingerprints(names).tobytes()


def test_an_interrupted_scan_goes_on_where_it_stopped(
    images: Path, image_bytes: ImageBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(images, {f"cat/{k:03}.png": image_bytes(k) for k in range(100)})
    decoded: list[bytes] = []

    def refuse_once(content: bytes, params: ImageParams, sides: SideLimits) -> Decoded:
        decoded.append(content)
        if content == (images / "cat" / "090.png").read_bytes() and not resumed:
            raise KeyboardInterrupt
        return decode(content, params, sides)

    resumed = False
    monkeypatch.setattr(module, "decode", refuse_once)
    with pytest.raises(KeyboardInterrupt):
        run_scan(images)
    resumed = True
    decoded.clear()
    assert {file.status for file in run_scan(images).files} == {"used"}
    last = {(images / "cat" / f"{k:03}.png").read_bytes() for k in range(90, 100)}
    assert set(decoded) <= last  # what was decoded before the interruption is known


@pytest.mark.row("D37")
def test_changed_bytes_of_equal_size_and_time_are_seen(
    images: Path, image_bytes: ImageBytes
) -> None:
    put(images, {"cat/a.bmp.png": image_bytes(1)})
    path = images / "cat" / "a.bmp.png"
    before = run_scan(images)
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run_scan(images).files[0].sha256 != before.files[0].sha256


@pytest.mark.parametrize("damage", [b"", b"no digest", b"0" * 64 + b"\n{}", None])
def test_a_damaged_cache_is_ignored(
    images: Path, image_bytes: ImageBytes, damage: bytes | None
) -> None:
    put(images, {"cat/a.png": image_bytes()})
    first = run_scan(images)
    names = [file.sha256 for file in first.files]
    fingerprints = first.fingerprints(names).tobytes()
    (path,) = (images.parent / "cache").iterdir()
    good = path.read_bytes()
    path.write_bytes(good.replace(b"RGB", b"XYZ") if damage is None else damage)
    again = run_scan(images)
    assert again == first
    assert path.read_bytes() == good
    assert again.fingerprints(names).tobytes() == fingerprints


def test_other_settings_have_another_cache(images: Path, image_bytes: ImageBytes) -> None:
    put(images, {"cat/a.png": image_bytes()})
    run_scan(images)
    other = PARAMS.model_copy(update={"background": (1, 2, 3)})
    scan(images, exclude=[], params=other, cache=images.parent / "cache")
    assert len(list((images.parent / "cache").iterdir())) == 2


def test_listing_order_does_not_matter(
    images: Path, image_bytes: ImageBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(images, {f"{c}/{k}.png": image_bytes(k) for c in ("b", "a", "a/z") for k in range(40)})
    first = run_scan(images)
    assert [file.path for file in first.files] == sorted(file.path for file in first.files)
    listed = os.scandir

    class Shuffled:
        def __init__(self, path: Path) -> None:
            self.entries = list(listed(path))
            random.Random(3).shuffle(self.entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert run_scan(images) == first


NAMES = st.sampled_from(
    ["a.png", "b.jpg", ".hidden", "Thumbs.db", "x\ny", "deep/c.png", "\u00e9.gif"]
)
KINDS = st.sampled_from(["png", "jpeg", "gif", "text", "empty", "cut", "link", "fifo"])


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.tuples(st.sampled_from(["", "cat/", "dog/"]), NAMES), KINDS))
def test_found_is_used_plus_quarantined_plus_ignored(
    tmp_path_factory: pytest.TempPathFactory,
    image_bytes: ImageBytes,
    tree: dict[tuple[str, str], str],
) -> None:
    images = tmp_path_factory.mktemp("tree") / "images"
    images.mkdir()
    valid = {"png": image_bytes(), "jpeg": image_bytes(kind="JPEG"), "gif": image_bytes(kind="GIF")}
    contents = valid | {"text": b"text", "empty": b"", "cut": image_bytes(kind="JPEG")[:-90]}
    for (folder, name), kind in tree.items():
        path = images / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to("/etc/passwd")
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.write_bytes(contents[kind])
    found = run_scan(images).files
    assert len(found) == len(tree)
    assert len({file.path for file in found}) == len(found)
    for file in found:
        assert (file.status == "used") == (file.reason == "")
        assert (file.status == "quarantined") == (file.rule != "")
        assert (file.info.pixel_sha256 != "") == (file.status == "used")
        assert file.status != "used" or file.label in {"cat", "dog", "deep"}
