"""Whatever lies below the image folder: nothing is lost, mislabeled, or left out without a word."""

import contextlib
import os
import random
import struct
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from components.core.data.files import Scan
from components.core.data.grouping import ScannedDataset, group_and_split
from components.core.data.splits import NOTHING_PINNED
from components.core.errors import InvalidData, PipelineError
from components.io.data.scan import printable, scan
from components.io.data.split_files import read_groups
from components.validate import run
from components.validate.messages import to_problems
from components.validate.tables import to_manifest, to_tables
from tests.components.validate.test_validate import PARAMS, Ran, paths, tables


def png(seed: int) -> bytes:
    """A gray PNG of 8 x 8 pixels of noise."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    noise = random.Random(seed)
    pixels = b"".join(b"\0" + noise.randbytes(8) for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


IMAGES = [png(seed) for seed in range(40)]
OTHER_CONTENTS = [b"", b"text", b"%PDF-1.7", IMAGES[0][:40], b"GIF89a"]

TOPS = [
    *("cat", "dog", "Cat", "cat\u200b", "great dane", "great\u00a0dane", "caf\u00e9", "cafe\u0301"),
    *("train", "val", "test", "Valid", "seg_train", "seg_val", "seg_test", "dev", "holdout"),
    *("camera1", "camera2", "2023", "0", "1", "NA", "null", " x", "x ", "[x]", "*", "-rf", "CON"),
    *("#recycle", "@Recycle", "$RECYCLE.BIN", "recycled", "RECYCLED", "lost+found", ".Trash-1000"),
    *("__MACOSX", "new\nline", "back\\slash", "\udcff", "\U0001f415", "\u202ex", "n" * 200, "~$x"),
]
SUBFOLDERS = ["", "", "", "day", "night", "cat", "dog", "train", "val", "test", "a/b/c", "@eaDir"]
NAMES = [
    *(f"{number}.png" for number in range(9)),
    *("0.PNG", "0.png:Zone.Identifier", "Thumbs.db", ".DS_Store", "._0.png", "notes.txt", "~$x"),
    *("caf\u00e9.png", "cafe\u0301.png", "\u200b.png", "\u202e.png", "a\tb.png", "\udc80.png", "x"),
]


def grow(root: Path, choose: random.Random) -> None:
    """A random tree of all of these, with links and pipes among the files."""
    tops = choose.sample(TOPS, choose.randint(1, 5))
    if choose.random() < 0.2:
        tops = choose.choice([["train", "val", "test"], ["seg_train", "seg_val", "seg_test"]])
    root.mkdir()
    for top in tops:
        for sub in choose.sample(SUBFOLDERS, choose.randint(1, 3)):
            folder = root / top / sub
            folder.mkdir(parents=True, exist_ok=True)
            for name in choose.sample(NAMES, choose.randint(0, 5)):
                plant(folder / name, choose)
    if choose.random() < 0.2:
        plant(root / choose.choice(NAMES), choose)


def plant(path: Path, choose: random.Random) -> None:
    kind = choose.random()
    if kind < 0.03:
        path.symlink_to(choose.choice(["nowhere", "..", "0.png"]))
    elif kind < 0.05:
        os.mkfifo(path)
    elif kind < 0.15:
        path.write_bytes(choose.choice(OTHER_CONTENTS))
    else:
        path.write_bytes(choose.choice(IMAGES))


def listed(root: Path) -> list[str]:
    """Every path below the folder that is no folder, by another walk than the product's."""
    found = []
    for folder, folders, names in os.walk(root):
        place = Path(folder)
        links = [name for name in folders if (place / name).is_symlink()]
        found += [str((place / name).relative_to(root)) for name in names + links]
    return sorted(printable(path) for path in found)


def check(found: Scan, data: ScannedDataset, root: Path) -> None:
    """What holds for every tree."""
    files = {file.path: file for file in data.files}
    assert sorted(files) == listed(root)
    status = Counter(file.status for file in data.files)
    assert len(files) == status["used"] + status["quarantined"] + status["ignored"]
    assert [item.file.path for item in data.items] == [
        file.path for file in data.files if file.status == "used"
    ]
    named = {problem.path for problem in to_problems(data, {})}
    for file in data.files:
        assert (file.status == "used") == (not file.reason)
        assert (file.status == "quarantined") == bool(file.rule) == (file.path in named)
        parts = file.path.split("/")
        if file.status == "used":
            assert file.label == parts[bool(found.split_folders)]
            assert len(parts) > 1 + bool(found.split_folders)
            assert file.split == found.split_folders.get(parts[0], "")
            assert file.label in data.class_names
        if file.reason.startswith("same bytes as "):
            kept = files[file.reason.removeprefix("same bytes as ")]
            assert (kept.status, kept.label, kept.sha256) == ("used", file.label, file.sha256)
    manifest = to_manifest(data, with_splits=True)
    assert manifest["path"].tolist() == sorted(files)
    assert ((manifest["split"] != "") == (manifest["status"] == "used")).all()
    tables = to_tables(data)
    assert len(tables["files"]) == status["used"] + status["quarantined"]
    assert len(tables["used"]) == status["used"]
    assert tables["classes"]["name"].tolist() == data.class_names


@pytest.mark.parametrize("chunk", range(5))
def test_every_tree_is_accounted_for(tmp_path: Path, chunk: int) -> None:
    splits = 0
    # the search for near duplicates takes longer than all else; whole steps below have it
    settings = PARAMS.validate.model_copy(update={"near_duplicates": None})
    for seed in range(100 * chunk, 100 * chunk + 100):
        root, choose = tmp_path / str(seed), random.Random(seed)
        grow(root, choose)
        exclude = choose.choice([[], [], ["notes.txt"], ["cat/*"], ["*/caf\u00e9*"]])
        found = scan(
            root, exclude=exclude, params=PARAMS.data.decode_params, cache=tmp_path / "cache"
        )
        table = tmp_path / "groups.csv"
        lines = choose.choice(["", "cat/0.png,g\n", "caf\u00e9/1.png,g\n"])
        table.write_text(f"path,group\n{lines}")
        groups = {}
        # two files may be spelled alike, or the listed one may not be there
        with contextlib.suppress(PipelineError):
            groups = read_groups(table, {file.path for file in found.files})
        data = group_and_split(found, settings, groups, NOTHING_PINNED)
        check(found, data, root)
        splits += bool(found.split_folders)
    assert 5 < splits < 50


@pytest.mark.parametrize("seed", range(12))
def test_the_whole_step_names_every_file_that_is_not_used(tmp_path: Path, seed: int) -> None:
    root, folder = tmp_path / "images", tables(tmp_path / "out")
    grow(root, random.Random(seed))
    lenient = PARAMS.validate.model_copy(update={"warning_rules": ["invalid_names", "class_level"]})
    message = ""
    try:
        run(paths(root, folder), replace(PARAMS, validate=lenient))
    except InvalidData as error:
        message = str(error)
    ran = Ran(folder, message)
    assert "\n" not in message
    assert (message == "") == ran.report.success
    rows = ran.manifest
    assert sorted(rows["path"]) == listed(root)
    assert ran.report.found == ran.report.used + ran.report.quarantined + ran.report.ignored
    named = {path for path, _, _ in ran.problems}
    assert set(rows[rows["status"] == "quarantined"]["path"]) <= named
    assert (rows[rows["status"] != "used"]["reason"] != "").all()
