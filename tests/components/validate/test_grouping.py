"""What belongs together stays together, and what is pinned stays where it is, on real folders."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.io.data.split_files import pin_splits
from tests.components.validate.test_validate import Ran, make_splits, tables, validate

Folders = Callable[[Path, dict[str, int]], Path]
ImageBytes = Callable[..., bytes]


@pytest.fixture
def pets(tmp_path: Path, class_folders: Folders) -> Path:
    return class_folders(tmp_path / "images", {"cat": 14, "dog": 14})


def scene(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC)


def write_tables(images: Path, groups: str = "", pinned: str = "") -> Path:
    folder = tables(images.parent / "out")
    for name, lines in (("groups.csv", groups), ("splits.csv", pinned)):
        with (folder / name).open("a") as file:
            file.write(lines)
    return folder


def pin_all(ran: Ran) -> str:
    return pin_splits(
        ran.folder / "manifest.parquet", ran.folder / "report.json", ran.folder / "splits.csv"
    )


def by_pixels(ran: Ran) -> dict[str, str]:
    used = ran.manifest[ran.manifest["status"] == "used"]
    return dict(zip(used["pixel_sha256"], used["split"], strict=True))


@pytest.mark.row("D32")
def test_near_duplicates_share_a_group_and_a_split_and_are_counted(
    pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(6):
        scene(seed).save(pets / "cat" / f"s{seed}.png")
        scene(seed).resize((100, 100)).save(pets / "cat" / f"t{seed}.png")
        scene(seed).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pets / "cat" / f"u{seed}.png")
    ran = validate(pets)
    assert ran.message == ""
    rows = ran.manifest.set_index("path")
    for seed in range(6):
        family = rows.loc[[f"cat/{letter}{seed}.png" for letter in "stu"]]
        assert family["group"].nunique() == family["split"].nunique() == 1
        assert family["group"].iloc[0] == family["pixel_sha256"].min()
    report = ran.report
    assert (report.near_duplicates, report.groups, report.largest_group) == (18, 34, 3)
    assert "34 groups, the largest of 3; 18 images with near duplicates" in capsys.readouterr().out
    assert "18 images have near duplicates" in ran.page
    assert validate(pets, near_duplicates=None).report.near_duplicates == 0


def test_a_near_duplicate_across_predefined_splits_names_both_files_and_says_why(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = tmp_path / "images"
    make_splits(images, class_folders)
    scene(1).save(images / "train" / "cat" / "a.png")
    scene(1).resize((90, 90)).save(images / "test" / "cat" / "b.png")
    ran = validate(images)
    assert ran.failed == ["split_leakage"]
    assert "train/cat/a.png: near duplicate of test/cat/b.png" in ran.message
    assert "test/cat/b.png: near duplicate of train/cat/a.png" in ran.message


def test_a_group_across_predefined_splits_says_why(tmp_path: Path, class_folders: Folders) -> None:
    images = tmp_path / "images"
    make_splits(images, class_folders)
    write_tables(images, groups="train/cat/000.png,g\nval/cat/006.png,g\n")
    ran = validate(images)
    assert ran.failed == ["split_leakage"]
    assert "val/cat/006.png: listed in one group with train/cat/000.png" in ran.message


def test_a_captured_group_across_predefined_splits_says_why(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = tmp_path / "images"
    make_splits(images, class_folders)
    for name in ("train/cat/000.png", "val/cat/006.png"):
        (images / name).rename(images / name.replace("/cat/", "/cat/film7_"))
    ran = validate(images, group_pattern=r"film\d")
    assert ran.failed == ["split_leakage"]
    why = "by its name in one group with"
    assert f"val/cat/film7_006.png: {why} train/cat/film7_000.png" in ran.message


def test_listed_groups_stay_in_one_split(pets: Path) -> None:
    names = [f"{label}/{number:03}.png" for label in ("cat", "dog") for number in range(6)]
    write_tables(pets, groups="".join(f"{name},film {name[-5]}\n" for name in names))
    ran = validate(pets)
    rows = ran.manifest.set_index("path")
    for number in range(6):
        film = rows.loc[[f"cat/{number:03}.png", f"dog/{number:03}.png"]]
        assert film["group"].nunique() == film["split"].nunique() == 1
    assert ran.report.largest_group == 2


def test_a_dropped_duplicate_still_joins_its_group(pets: Path) -> None:
    shutil.copy(pets / "cat" / "000.png", pets / "cat" / "zz.png")
    write_tables(pets, groups="cat/zz.png,g\ncat/005.png,g\n")
    rows = validate(pets).manifest.set_index("path")
    assert rows.loc["cat/zz.png", "status"] == "ignored"
    assert rows.loc[["cat/000.png", "cat/005.png"], "group"].nunique() == 1


def test_a_listed_path_that_is_not_there_is_refused_in_one_line(pets: Path) -> None:
    write_tables(pets, groups="cat/999.png,g\n")
    message = validate(pets).message
    assert "line 2: cat/999.png is not in the image folder" in message
    assert "\n" not in message


def test_a_group_that_is_most_of_a_class_is_reported(pets: Path) -> None:
    write_tables(pets, groups="".join(f"cat/{number:03}.png,g\n" for number in range(9)))
    ran = validate(pets)
    assert ran.failed == ["max_group_share"]
    assert "(cat: the largest group is 64% of it)" in ran.message
    assert validate(pets, warning_rules=["max_group_share"]).message == ""


@pytest.mark.row("D31")
def test_appending_ten_percent_moves_no_old_image(pets: Path, image_bytes: ImageBytes) -> None:
    ran = validate(pets)
    before = by_pixels(ran)
    assert pin_all(ran).endswith("28 images pinned, 28 of them new: train 20, val 4, test 4")
    for number in range(3):
        (pets / "cat" / f"a{number}.png").write_bytes(image_bytes(seed=5000 + number))
    ran = validate(pets, split_seed=7)
    after = by_pixels(ran)
    assert {pixels: after[pixels] for pixels in before} == before
    assert len(after) == 31
    assert ran.report.pinned == 28
    assert "28 pinned to their split" in ran.page


def test_renaming_and_moving_within_a_class_moves_no_image(pets: Path) -> None:
    ran = validate(pets)
    before = by_pixels(ran)
    pin_all(ran)
    (pets / "dog" / "deep" / "er").mkdir(parents=True)
    for number, path in enumerate(sorted(pets.glob("*/*.png"))):
        folder = path.parent / "deep" / "er" if path.parent.name == "dog" else path.parent
        path.rename(folder / f"renamed{97 * number % 89}.png")
    assert by_pixels(validate(pets, split_seed=3)) == before


def test_a_new_near_duplicate_goes_where_the_pinned_one_is(pets: Path) -> None:
    for seed in range(4):
        scene(seed).save(pets / "cat" / f"s{seed}.png")
    pin_all(validate(pets))
    for seed in range(4):
        scene(seed).resize((90, 90)).save(pets / "cat" / f"t{seed}.png")
    rows = validate(pets, split_seed=9).manifest.set_index("path")
    for seed in range(4):
        assert rows.loc[[f"cat/{letter}{seed}.png" for letter in "st"], "split"].nunique() == 1


def pixels_of(ran: Ran, path: str) -> str:
    return str(ran.manifest.set_index("path").loc[path, "pixel_sha256"])


def test_a_new_image_that_joins_two_splits_is_refused_with_the_way_out(
    pets: Path, image_bytes: ImageBytes
) -> None:
    ran = validate(pets)
    one, other = (pixels_of(ran, f"cat/{name}.png") for name in ("000", "001"))
    write_tables(pets, pinned=f"{one},train,old name.png\n{other},test,cat/001.png\n")
    (pets / "cat" / "new.png").write_bytes(image_bytes(seed=77))
    write_tables(pets, groups="cat/000.png,g\ncat/001.png,g\ncat/new.png,g\n")
    ran = validate(pets)
    assert ran.failed == ["pinned_split_conflicts"]
    assert (
        "found 1 of 29 files; expected groups pinned to one split; remove the image, or the pinned "
        "splits of one side. cat/new.png: belongs together with cat/000.png (pinned to train) and "
        "cat/001.png (pinned to test)."
    ) in ran.message
    (pets / "cat" / "new.png").unlink()
    (ran.folder / "groups.csv").write_text("path,group\ncat/000.png,g\ncat/001.png,g\n")
    ran = validate(pets)
    assert ran.failed == ["pinned_split_conflicts"]
    assert {path for path, _, _ in ran.problems} == {"cat/000.png", "cat/001.png"}


def test_pinned_splits_beside_a_predefined_split_is_refused(
    tmp_path: Path, class_folders: Folders
) -> None:
    images = tmp_path / "images"
    make_splits(images, class_folders)
    write_tables(images, pinned=f"{'a' * 64},train,x.png\n")
    assert (
        "has a predefined split (folders train, val, test); remove all lines"
        in validate(images).message
    )


def test_near_duplicates_with_two_labels_are_named_in_a_warning_and_in_the_table_of_pairs(
    pets: Path,
) -> None:
    photo = np.random.default_rng(9).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(photo).resize((90, 90), Image.Resampling.BICUBIC)
    image.save(pets / "cat" / "photo.png")
    image.save(pets / "dog" / "copy.jpg", quality=88)
    ran = validate(pets, warning_rules=["near_duplicate_label_conflicts"])
    assert ran.message == ""
    (rule,) = (rule for rule in ran.report.rules if not rule.success)
    assert (rule.rule, rule.files) == (
        "near_duplicate_label_conflicts", ["cat/photo.png", "dog/copy.jpg"],
    )  # fmt: skip
    assert "rule near_duplicate_label_conflicts" in validate(pets, warning_rules=[]).message
    table = (pets.parent / "out" / "near_duplicates.csv").read_text().splitlines()
    assert table[0] == "group,path,label,other_path,other_label,similarity"
    assert ",cat/photo.png,cat,dog/copy.jpg,dog," in table[1]
    assert len(table) == 2
