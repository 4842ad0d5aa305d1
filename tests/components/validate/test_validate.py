"""validate on real folders: valid ones get a manifest, broken ones one clear line."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from components.core.artifacts import MANIFEST_COLUMNS, ValidationReport, data_digest
from components.core.data.decoding import DataParams
from components.core.data.near_duplicates import NearDuplicateParams
from components.core.errors import InvalidData, MissingInput
from components.io.data import manifest
from components.validate import Params, Paths, run
from components.validate.rules import ValidateParams
from tests import factories

ROOT = Path(__file__).parents[3]
Folders = Callable[[Path, dict[str, int]], Path]
ImageBytes = Callable[..., bytes]

PARAMS = Params(
    data=DataParams(**factories.image_params().model_dump(), cache_gib=1.0),
    validate=ValidateParams(
        exclude=[],
        group_pattern=None,
        near_duplicates=NearDuplicateParams(max_hamming_distance=11, min_similarity=0.7),
        split={"train": 0.7, "val": 0.15, "test": 0.15},
        split_seed=0,
        min_images=12,
        min_images_per_class=5,
        min_side=8,
        max_side=500,
        max_aspect_ratio=4.0,
        max_unreadable=0.0,
        max_imbalance=3.0,
        max_group_share=0.5,
        warning_rules=["max_aspect_ratio", "max_imbalance"],
    ),
)


@dataclass
class Ran:
    """What one run left behind."""

    folder: Path
    message: str

    @property
    def manifest(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "manifest.parquet")

    @property
    def report(self) -> ValidationReport:
        return ValidationReport.model_validate_json((self.folder / "report.json").read_bytes())

    @property
    def problems(self) -> list[tuple[str, ...]]:
        with (self.folder / "quarantine.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["path", "reason", "rule"]
        return [tuple(row) for row in rows]

    @property
    def failed(self) -> list[str]:
        return [r.rule for r in self.report.rules if not r.success and r.severity == "critical"]

    @property
    def page(self) -> str:
        return (self.folder / "report.html").read_text()


def paths(images: Path, folder: Path) -> Paths:
    return Paths(
        images=images,
        groups=folder / "groups.csv",
        pinned_splits=folder / "splits.csv",
        manifest=folder / "manifest.parquet",
        quarantine=folder / "quarantine.csv",
        report=folder / "report.json",
        near_duplicates=folder / "near_duplicates.csv",
        page=folder / "report.html",
        cache=folder / "cache",
    )


def tables(folder: Path) -> Path:
    """Groups and pinned splits with their header lines alone, unless they are there."""
    folder.mkdir(exist_ok=True)
    for name, header in (("groups.csv", "path,group"), ("splits.csv", "pixel_sha256,split,path")):
        if not (folder / name).exists():
            (folder / name).write_text(f"{header}\n")
    return folder


def validate(images: Path, **settings: object) -> Ran:
    """Run the step, with other settings of the section validate if given."""
    section = ValidateParams.model_validate(PARAMS.validate.model_dump() | settings)
    folder = tables(images.parent / "out")
    try:
        run(paths(images, folder), replace(PARAMS, validate=section))
    except InvalidData as error:
        return Ran(folder, str(error))
    return Ran(folder, "")


@pytest.fixture
def pets(tmp_path: Path, class_folders: Folders) -> Path:
    return class_folders(tmp_path / "images", {"cat": 10, "dog": 12})


def test_a_valid_folder_gets_a_whole_manifest(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = validate(pets)
    assert ran.message == ""
    table = ran.manifest
    assert list(table.columns) == list(MANIFEST_COLUMNS)
    assert table["path"].tolist() == sorted(table["path"])
    assert Counter(table["status"]) == {"used": 22}
    assert set(table["reason"]) == {""}
    assert ran.problems == []
    counts = table.groupby(["label", "split"]).size().to_dict()
    assert counts == {
        ("cat", "train"): 7, ("cat", "val"): 2, ("cat", "test"): 1,
        ("dog", "train"): 8, ("dog", "val"): 2, ("dog", "test"): 2,
    }  # fmt: skip
    report = ran.report
    assert report.success
    assert report.class_names == ["cat", "dog"]
    assert report.counts["cat"] == {"train": 7, "val": 2, "test": 1}
    assert (report.found, report.used, report.quarantined, report.ignored) == (22, 22, 0, 0)
    assert report.data_digest == data_digest(table)
    assert len(capsys.readouterr().out.splitlines()) <= 6


def test_later_steps_can_read_it(pets: Path) -> None:
    ran = validate(pets)
    rows = manifest.read(ran.folder / "manifest.parquet", ran.folder / "report.json", ("val",))
    assert Counter(rows["label"]) == {"cat": 2, "dog": 2}


OUTPUTS = ("manifest.parquet", "quarantine.csv", "report.json", "report.html")


def test_equal_input_gives_equal_bytes(pets: Path) -> None:
    first = [(validate(pets).folder / name).read_bytes() for name in OUTPUTS]
    second = [(validate(pets).folder / name).read_bytes() for name in OUTPUTS]
    assert first == second


def test_renamed_files_keep_their_splits(pets: Path) -> None:
    before = validate(pets).manifest.set_index("sha256")["split"]
    for number, path in enumerate(sorted(pets.glob("*/*.png"), reverse=True)):
        path.rename(path.with_name(f"new{number}.png"))
    after = validate(pets).manifest.set_index("sha256")["split"]
    assert after.to_dict() == before.to_dict()


def test_all_but_one_of_exact_duplicates_are_dropped(pets: Path) -> None:
    content = (pets / "cat" / "003.png").read_bytes()
    for name in ("000-first.png", "999.png"):
        (pets / "cat" / name).write_bytes(content)
    ran = validate(pets)
    assert ran.report.duplicates == 2
    assert (ran.report.found, ran.report.used, ran.report.ignored) == (24, 22, 2)
    ignored = ran.manifest[ran.manifest["status"] == "ignored"]
    assert ignored["path"].tolist() == ["cat/003.png", "cat/999.png"]
    assert set(ignored["reason"]) == {"same bytes as cat/000-first.png"}
    assert set(ignored["split"]) == {""}


@pytest.mark.row("D30")
def test_equal_pixels_in_other_bytes_stay_in_one_split(pets: Path) -> None:
    for path in sorted(pets.glob("cat/*.png")):
        Image.open(path).save(path.with_name(f"copy-{path.name}"), compress_level=0)
    ran = validate(pets)
    assert ran.message == ""
    assert ran.report.used == 32
    cats = ran.manifest[ran.manifest["label"] == "cat"]
    assert (cats.groupby("pixel_sha256").size() == 2).all()
    assert (cats.groupby("pixel_sha256")["split"].nunique() == 1).all()
    assert (cats["group"] == cats["pixel_sha256"]).all()


def test_files_with_equal_captured_text_stay_in_one_split(pets: Path) -> None:
    for path in sorted(pets.glob("*/*.png")):
        path.rename(path.with_name(f"film{int(path.stem) // 3}_{path.name}"))
    ran = validate(pets, group_pattern=r"/(film\d+)_", min_images_per_class=3)
    table = ran.manifest
    film = table["path"].str.extract(r"/(film\d+)_")[0]
    assert (table.groupby(film)["split"].nunique() == 1).all()
    assert table.groupby(film)["group"].nunique().max() == 1


def test_predefined_splits_are_kept(tmp_path: Path, class_folders: Folders) -> None:
    make_splits(tmp_path / "images", class_folders)
    table = validate(tmp_path / "images").manifest
    assert (table["split"] == table["path"].str.split("/").str[0]).all()
    assert Counter(table["split"]) == {"train": 12, "val": 6, "test": 4}


def make_splits(images: Path, class_folders: Folders) -> None:
    everything = class_folders(images.parent / "all", {"cat": 11, "dog": 11})
    for split, numbers in (("train", range(6)), ("val", range(6, 9)), ("test", range(9, 11))):
        for label in ("cat", "dog"):
            (images / split / label).mkdir(parents=True)
            for number in numbers:
                source = everything / label / f"{number:03}.png"
                source.rename(images / split / label / source.name)


@pytest.mark.row("D31")
def test_an_image_in_two_predefined_splits_names_both_files(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = tmp_path / "images"
    make_splits(images, class_folders)
    (images / "test" / "cat" / "x.png").write_bytes(
        (images / "train" / "cat" / "000.png").read_bytes()
    )
    ran = validate(images)
    assert ran.failed == ["split_leakage"]
    assert "test/cat/x.png: same pixels as train/cat/000.png" in ran.message
    assert "train/cat/000.png: same pixels as test/cat/x.png" in ran.message


@pytest.mark.row("D21")
def test_a_missing_folder_names_three_ways_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInput) as caught:
        validate(tmp_path / "images")
    for way in ("dvc pull", "python -m pipeline sample-data", "dvc add"):
        assert way in str(caught.value)


@pytest.mark.row("D21")
def test_an_empty_folder_fails(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    ran = validate(tmp_path / "images")
    assert "min_classes: found no class folder; expected at least 2 class folders" in ran.message
    assert ran.manifest.empty
    assert list(ran.manifest.columns) == list(MANIFEST_COLUMNS)
    assert {"min_images", "min_classes"} <= set(ran.failed)


@pytest.mark.row("D21")
def test_one_class_only_fails(tmp_path: Path, class_folders: Folders) -> None:
    ran = validate(class_folders(tmp_path / "images", {"cat": 20}))
    assert ran.failed == ["min_classes"]
    assert "found 1 class folder (cat); expected at least 2 class folders" in ran.message


def test_few_images_hide_not_that_they_are_of_one_class(
    tmp_path: Path, class_folders: Folders
) -> None:
    ran = validate(class_folders(tmp_path / "images", {"cat": 5}))
    assert ran.failed == ["min_classes", "min_images"]
    assert "rule min_classes: found 1 class folder (cat); expected at least 2" in ran.message
    assert "Also failed: min_images" in ran.message


def test_a_class_below_the_minimum_is_named_with_its_count(
    tmp_path: Path, class_folders: Folders
) -> None:
    ran = validate(class_folders(tmp_path / "images", {"cat": 12, "dog": 4}))
    assert ran.failed == ["min_images_per_class"]
    assert "(dog: 4 images); expected at least 5 of every class" in ran.message


@pytest.mark.row("D20")
def test_an_empty_class_folder_is_named(pets: Path) -> None:
    (pets / "owl").mkdir()
    ran = validate(pets)
    assert ran.failed == ["min_images_per_class", "class_missing_from_split"]
    assert "owl: no image" in ran.message


@pytest.mark.row("D22")
@pytest.mark.parametrize("count", [1, 2])
def test_a_class_too_small_to_be_in_every_split_fails(
    tmp_path: Path, class_folders: Folders, count: int
) -> None:
    images = class_folders(tmp_path / "images", {"cat": 20, "dog": count})
    ran = validate(images, min_images_per_class=1)
    assert ran.failed == ["class_missing_from_split"]
    assert "dog: is in 1 of 3 splits" in ran.message


@pytest.mark.row("D22")
def test_three_images_are_enough_to_be_in_every_split(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = class_folders(tmp_path / "images", {"cat": 20, "dog": 3})
    assert validate(images, min_images_per_class=1).message == ""


@pytest.mark.row("D01")
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("zero.png", b"", "zero bytes"),
        ("page.jpg", b"<html>moved</html>", "text/HTML, not an image"),
        ("paper.jpg", b"%PDF-1.7", "a PDF, not an image"),
    ],
)
def test_an_unreadable_file_fails_with_its_path_and_reason(
    pets: Path, name: str, content: bytes, reason: str
) -> None:
    (pets / "cat" / name).write_bytes(content)
    ran = validate(pets)
    assert ran.failed == ["max_unreadable"]
    assert f"cat/{name}: {reason}" in ran.message
    assert ran.problems == [(f"cat/{name}", reason, "max_unreadable")]
    assert f"cat/{name}" in ran.page


@pytest.mark.row("D02")
def test_a_truncated_image_fails(pets: Path, image_bytes: ImageBytes) -> None:
    content = image_bytes(kind="JPEG")
    (pets / "cat" / "cut.jpg").write_bytes(content[: len(content) // 2])
    assert "cat/cut.jpg: truncated" in validate(pets).message


def test_a_few_unreadable_files_can_be_tolerated(pets: Path) -> None:
    (pets / "cat" / "zero.png").write_bytes(b"")
    ran = validate(pets, max_unreadable=0.05)
    assert ran.message == ""
    row = ran.manifest.set_index("path").loc["cat/zero.png"]
    assert (row["status"], row["reason"], row["split"]) == ("quarantined", "zero bytes", "")
    assert (ran.report.used, ran.report.quarantined) == (22, 1)
    assert ran.problems == [("cat/zero.png", "zero bytes", "max_unreadable")]


@pytest.mark.row("D04", "D07")
def test_too_many_pixels_fail(pets: Path, image_bytes: ImageBytes) -> None:
    (pets / "cat" / "huge.png").write_bytes(image_bytes(size=(1001, 1000)))
    assert "cat/huge.png: 1,001,000 pixels, more than 1,000,000" in validate(pets).message


def test_a_format_that_is_not_allowed_fails(pets: Path, image_bytes: ImageBytes) -> None:
    (pets / "cat" / "x.png").write_bytes(image_bytes(kind="GIF"))
    ran = validate(pets)
    assert ran.failed == ["formats"]
    assert "cat/x.png: GIF, not one of PNG, JPEG" in ran.message


@pytest.mark.row("D16")
def test_links_out_of_the_tree_fail_and_never_read(pets: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes((pets / "cat" / "000.png").read_bytes())
    (pets / "cat" / "link.png").symlink_to(secret)
    (pets / "owl").symlink_to(tmp_path)
    ran = validate(pets)
    assert ran.failed == ["non_regular_files"]
    assert "cat/link.png: a symbolic link; owl: a symbolic link" in ran.message
    assert ran.manifest.set_index("path").loc["cat/link.png", "sha256"] == ""
    assert "<img" not in ran.page


@pytest.mark.row("D18")
def test_junk_is_counted_and_harmless(pets: Path) -> None:
    (pets / ".ipynb_checkpoints").mkdir()
    for name in (".DS_Store", ".ipynb_checkpoints/000.png", "cat/Thumbs.db"):
        (pets / name).write_bytes(b"junk")
    ran = validate(pets)
    assert ran.message == ""
    assert (ran.report.found, ran.report.used, ran.report.ignored) == (25, 22, 3)
    assert ran.report.duplicates == 0


@pytest.mark.row("D19")
def test_a_file_beside_the_class_folders_fails(pets: Path) -> None:
    (pets / "notes.txt").write_text("hello")
    ran = validate(pets)
    assert ran.failed == ["unlabeled_files"]
    assert "notes.txt: not inside a class folder" in ran.message


def test_names_in_other_scripts_and_with_spaces_work(tmp_path: Path, pets: Path) -> None:
    (pets / "cat").rename(pets / "Katze (grau) & 's\u00fc\u00df'")
    (pets / "dog").rename(pets / "\u65e5\u672c\u8a9e \U0001f415")
    ran = validate(pets)
    assert ran.message == ""
    assert ran.report.class_names == [
        "Katze (grau) & 's\u00fc\u00df'",
        "\u65e5\u672c\u8a9e \U0001f415",
    ]
    assert "Katze (grau) &amp; &#39;s\u00fc\u00df&#39;" in ran.page


@pytest.mark.row("D24")
def test_a_newline_in_a_name_fails_and_is_shown_escaped(
    pets: Path, image_bytes: ImageBytes
) -> None:
    (pets / "cat" / "a\nb.png").write_bytes(image_bytes(5))
    ran = validate(pets)
    assert ran.failed == ["invalid_names"]
    assert "cat/a\\nb.png" in ran.message
    assert "\n" not in ran.message


@pytest.mark.row("D24", "D26")
@pytest.mark.parametrize(
    ("one", "other"),
    [("cat/\u00e9.png", "cat/e\u0301.png"), ("cat/a.png", "cat/A.PNG"), ("Cat/x.png", "cat/y.png")],
)
def test_names_that_other_systems_take_for_one_fail(
    pets: Path, image_bytes: ImageBytes, one: str, other: str
) -> None:
    for number, name in enumerate((one, other)):
        (pets / name).parent.mkdir(exist_ok=True)
        (pets / name).write_bytes(image_bytes(number))
    ran = validate(pets, min_images_per_class=1)
    assert ran.failed[0] == "invalid_names"
    found = {path for path, _, rule in ran.problems if rule == "invalid_names"}
    assert {one, other} <= found


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("cat ", "dog"), "starts or ends with a space"),
        (("dog", " cat"), "starts or ends with a space"),
    ],
)
def test_odd_class_names_fail(
    tmp_path: Path, class_folders: Folders, names: tuple[str, ...], reason: str
) -> None:
    ran = validate(class_folders(tmp_path / "images", dict.fromkeys(names, 8)))
    assert ran.failed == ["class_names"]
    assert reason in ran.message


@pytest.mark.row("D29", "D30")
def test_one_image_with_two_labels_fails_and_both_files_are_named(pets: Path) -> None:
    (pets / "dog" / "x.png").write_bytes((pets / "cat" / "003.png").read_bytes())
    ran = validate(pets)
    assert ran.failed == ["label_conflicts"]
    assert "cat/003.png: same pixels as dog/x.png" in ran.message
    assert "dog/x.png: same pixels as cat/003.png" in ran.message
    assert ran.page.count('<img src="data:image/jpeg;base64,') == 2


def test_all_copies_of_a_file_that_must_go_are_listed_at_once(
    pets: Path, image_bytes: ImageBytes
) -> None:
    conflict, small = (pets / "cat" / "003.png").read_bytes(), image_bytes(size=(7, 20))
    for name in ("cat/004-b.png", "cat/x/c.png", "dog/x.png"):
        (pets / name).parent.mkdir(exist_ok=True)
        (pets / name).write_bytes(conflict)
    for name in ("cat/tiny.png", "cat/tiny2.png"):
        (pets / name).write_bytes(small)
    ran = validate(pets)
    assert ran.failed == ["label_conflicts", "min_side"]
    assert "cat/003.png: same pixels as dog/x.png (and its 2 copies)" in ran.message
    assert ("cat/tiny2.png", "shorter side 7 px", "min_side") in ran.problems
    assert ("cat/x/c.png", "same bytes as cat/003.png", "label_conflicts") in ran.problems
    for path, _, _ in ran.problems:
        (pets / path).unlink()
    assert len(ran.problems) == 6
    assert validate(pets).message == ""


def test_copies_of_a_file_that_must_be_renamed_may_stay(
    pets: Path, image_bytes: ImageBytes
) -> None:
    (pets / "cat" / "000.PNG").write_bytes(image_bytes(77))
    (pets / "cat" / "copy.png").write_bytes((pets / "cat" / "000.png").read_bytes())
    ran = validate(pets)
    assert {path for path, _, _ in ran.problems} == {"cat/000.png", "cat/000.PNG"}


@pytest.mark.row("D20")
def test_an_empty_class_is_called_empty_not_infinitely_small(pets: Path) -> None:
    (pets / "owl").mkdir()
    ran = validate(pets)
    assert ("owl", "is empty", "max_imbalance") in ran.problems
    assert "inf" not in ran.message + "".join(reason for _, reason, _ in ran.problems)


@pytest.mark.row("D05", "D06")
@pytest.mark.parametrize(
    ("size", "rule", "reason"),
    [
        ((7, 20), "min_side", "shorter side 7 px"),
        ((501, 400), "max_side", "longer side 501 px"),
    ],
)
def test_sides_outside_the_limits_fail(
    pets: Path, image_bytes: ImageBytes, size: tuple[int, int], rule: str, reason: str
) -> None:
    (pets / "cat" / "x.png").write_bytes(image_bytes(size=size))
    ran = validate(pets)
    assert ran.failed == [rule]
    assert f"cat/x.png: {reason}" in ran.message


@pytest.mark.row("D05", "D07")
def test_an_image_of_wrong_sides_is_refused_by_its_header_and_not_decoded(
    pets: Path, image_bytes: ImageBytes
) -> None:
    whole = image_bytes(size=(100, 20))
    (pets / "cat" / "wide.png").write_bytes(whole[:60])
    ran = validate(pets, warning_rules=[])
    assert ran.failed == ["max_aspect_ratio"]
    assert ran.problems == [("cat/wide.png", "sides are 5.0 : 1", "max_aspect_ratio")]
    row = ran.manifest.set_index("path").loc["cat/wide.png"]
    assert (row["status"], row["width"], row["height"], row["format"]) == (
        "quarantined",
        100,
        20,
        "PNG",
    )
    assert validate(pets).failed == ["max_unreadable"]  # a warning needs the pixels


def test_an_image_that_is_known_is_refused_for_its_sides_as_a_new_one_is(
    pets: Path, image_bytes: ImageBytes
) -> None:
    (pets / "cat" / "wide.png").write_bytes(image_bytes(size=(100, 20)))
    new = validate(pets, warning_rules=[])
    assert validate(pets).message == ""
    known = validate(pets, warning_rules=[])
    assert (known.message, known.problems) == (new.message, new.problems)
    assert known.report.used == new.report.used == 22


def test_a_warning_reports_and_does_not_block(
    pets: Path, image_bytes: ImageBytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (pets / "cat" / "wide.png").write_bytes(image_bytes(size=(100, 20)))
    ran = validate(pets)
    assert ran.message == ""
    assert ran.problems == [("cat/wide.png", "sides are 5.0 : 1", "max_aspect_ratio")]
    assert (
        "warning: max_aspect_ratio, found 1 of 23 files (cat/wide.png)" in capsys.readouterr().out
    )
    assert validate(pets, warning_rules=[]).failed == ["max_aspect_ratio"]


@pytest.mark.row("D33")
def test_imbalance_is_measured_against_the_largest_class(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = class_folders(tmp_path / "images", {"cat": 20, "dog": 6})
    assert validate(images, warning_rules=[], max_imbalance=3.4).message == ""
    ran = validate(images, warning_rules=[])
    assert ran.failed == ["max_imbalance"]
    assert "dog: the largest class is 3.3 times as large" in ran.message


def test_too_few_images_in_all_fail(tmp_path: Path, class_folders: Folders) -> None:
    ran = validate(class_folders(tmp_path / "images", {"cat": 5, "dog": 6}))
    assert ran.failed == ["min_images"]
    assert "found 11 images; expected at least 12 images" in ran.message


def test_excluded_classes_are_out(tmp_path: Path, class_folders: Folders) -> None:
    images = class_folders(tmp_path / "images", {"cat": 8, "dog": 8, "old": 1})
    ran = validate(images, exclude=["old/*"])
    assert ran.message == ""
    assert ran.report.class_names == ["cat", "dog"]
    assert ran.manifest.set_index("path").loc["old/000.png", "reason"] == "excluded by old/*"


def test_a_failed_validation_writes_everything_without_splits(pets: Path) -> None:
    (pets / "cat" / "zero.png").write_bytes(b"")
    ran = validate(pets)
    assert set(OUTPUTS) <= {path.name for path in ran.folder.iterdir()}
    assert not ran.report.success
    assert set(ran.manifest["split"]) == {""}
    assert ran.report.data_digest == data_digest(ran.manifest)
    assert str(ran.folder / "report.html") in ran.message
    assert "\n" not in ran.message


def test_all_failing_rules_are_named_in_one_line(pets: Path) -> None:
    (pets / "notes.txt").write_text("hello")
    for number in range(5):
        (pets / "cat" / f"zero{number}.png").write_bytes(b"")
    ran = validate(pets, max_side=10)
    assert ran.message.count("unlabeled_files") == 1
    assert "Also failed: max_unreadable, max_side, min_images," in ran.message


def test_at_most_three_files_are_in_the_line_and_all_in_the_list(pets: Path) -> None:
    for number in range(30):
        (pets / "cat" / f"zero{number:02}.png").write_bytes(b"")
    ran = validate(pets)
    assert "cat/zero02.png: zero bytes and 27 more." in ran.message
    assert "zero03" not in ran.message
    assert len(ran.problems) == 30
    (rule,) = [rule for rule in ran.report.rules if rule.rule == "max_unreadable"]
    assert len(rule.files) == 20


def test_the_command_exits_1_with_one_line(pets: Path) -> None:
    (pets / "cat" / "zero.png").write_bytes(b"")
    places = asdict(paths(pets, tables(pets.parent / "out")))
    options = [f"--{name.replace('_', '-')}={path}" for name, path in places.items()]
    command = [sys.executable, "-m", "pipeline", "step", "validate", *options]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {pets}: rule max_unreadable:")
    assert len(done.stderr.splitlines()) == 1


def test_the_help_of_the_command_names_each_path_and_imports_nothing_heavy() -> None:
    script = (
        "import sys, runpy\n"
        "sys.argv = ['__main__.py', 'step', 'validate', '--help']\n"
        "try:\n"
        "    runpy.run_module('pipeline', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    heavy = {'pandas', 'scipy', 'great_expectations', 'torch', 'mlflow', 'jinja2'}\n"
        "    print(stop.code, sorted(heavy & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    for field in fields(Paths):
        assert f"--{field.name.replace('_', '-')}" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_report_is_plain_json_with_sorted_keys(pets: Path) -> None:
    text = (validate(pets).folder / "report.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_rules_and_problems_come_before_a_long_table_of_classes(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = class_folders(tmp_path / "images", {f"c{number:02}": 1 for number in range(31)})
    page = validate(images).page
    places = [page.index(f"<h2>{part}</h2>") for part in ("Problems", "Rules", "Classes")]
    assert places == sorted(places)
    table = page[places[-1] :]
    assert table.index("<details>") < table.index("<td>c30</td>")
    (images / "c30" / "000.png").unlink()
    (images / "c30").rmdir()
    assert "<details>" not in validate(images).page.partition("<h2>Classes</h2>")[2]


@pytest.mark.row("D24")
def test_odd_names_break_neither_page_nor_thumbnails(pets: Path, image_bytes: ImageBytes) -> None:
    names = [
        "<script>alert(1)<", "\"quoted\" & 'single'", "{{ 7 * 7 }} {% raw %}", "100 % #1?",
        "\u202egnp.x", "\U0001f415 \u05db\u05dc\u05d1", "x" * 240, "a,b;c", "=1+1",
    ]  # fmt: skip
    for seed, name in enumerate(names):
        (pets / "cat" / f"{name}.png").write_bytes(image_bytes(seed, size=(100, 20)))
    ran = validate(pets)
    assert {path for path, _, _ in ran.problems} == {f"cat/{name}.png" for name in names}
    problems = ran.page.partition("<h2>Rules</h2>")[0]
    assert problems.count('<img src="data:image/jpeg;base64,') == len(names)
    assert "<script" not in ran.page
    assert "{{ 7 * 7 }} {% raw %}" in ran.page
    assert "img { border: 1px solid" in ran.page


@pytest.mark.row("D38")
def test_what_dvc_recorded_is_compared_or_it_is_said_why_not(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pointer = pets.with_name("images.dvc")
    pointer.write_text(f"outs:\n- md5: {'0' * 32}.dir\n  hash: md5\n  path: images\n")
    (pets.parent / ".dvc").mkdir()
    assert validate(pets).message == ""
    place = pets.parent / f".dvc/cache/files/md5/00/{'0' * 30}.dir"
    line = f"validate  {pointer}: not compared, because its list {place} is not there; "
    assert f"{line}`dvc pull` fetches it" in capsys.readouterr().out.splitlines()
    content = json.dumps([{"relpath": "cat/000.png", "md5": "0" * 32}]).encode()
    name = hashlib.md5(content, usedforsecurity=False).hexdigest()
    pointer.write_text(pointer.read_text().replace("0" * 32, name))
    place = place.parents[1] / name[:2] / f"{name[2:]}.dir"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    assert [path for path, _, _ in validate(pets).problems] == ["cat/000.png"]
    assert "not compared" not in capsys.readouterr().out
    place.write_bytes(content[1:])
    assert validate(pets).message.startswith(f"{place}: is damaged, so {pets} cannot be")
