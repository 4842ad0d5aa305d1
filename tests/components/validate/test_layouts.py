"""Trees whose top level is no class level, or whose names mislead, on real folders."""

import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.components.validate.test_validate import Ran, tables, validate

ImageBytes = Callable[..., bytes]


@pytest.fixture
def grow(tmp_path: Path, image_bytes: ImageBytes) -> Callable[..., Path]:
    """grow("a/cat", "b/cat", each=5): the image folder with so many images in each folder."""
    seeds = count()

    def grow(*folders: str, each: int = 5) -> Path:
        for folder in folders:
            (tmp_path / "images" / folder).mkdir(parents=True)
            for number in range(each):
                content = image_bytes(next(seeds), size=(16, 16))
                (tmp_path / "images" / folder / f"{number}.png").write_bytes(content)
        return tmp_path / "images"

    return grow


def level(ran: Ran) -> str:
    """What the rule about the level of the classes says first in the line."""
    assert ran.failed[0] == "class_level", ran.message
    assert "rule class_level: found" in ran.message
    assert "list class_level in validate.warning_rules" in ran.message
    assert "\n" not in ran.message
    return ran.message


def test_cameras_are_no_classes_and_a_person_may_say_that_they_are(
    grow: Callable[..., Path],
) -> None:
    images = grow("camera1/ok", "camera1/bad", "camera2/ok", "camera2/bad")
    message = level(validate(images))
    assert "(camera1, camera2: hold the same folders (bad, ok) and are named like parts" in message
    assert "swap the levels (bad/camera1)" in message
    ran = validate(images, warning_rules=["class_level"])
    assert ran.message == ""
    assert ran.report.class_names == ["camera1", "camera2"]
    (rule,) = [rule for rule in ran.report.rules if rule.rule == "class_level"]
    assert (rule.success, rule.severity) == (False, "warning")


def test_the_remedy_for_cameras_works(grow: Callable[..., Path]) -> None:
    names = [f"{label}/camera{n}" for label in ("ok", "bad") for n in range(4)]
    ran = validate(grow(*names), group_pattern="/([^/]+)/[^/]+$", max_group_share=1.0)
    assert ran.message == ""
    camera = ran.manifest["path"].str.split("/").str[1]
    assert (ran.manifest.groupby(camera)["split"].nunique() == 1).all()


def test_views_inside_classes_pass_without_a_word(grow: Callable[..., Path]) -> None:
    ran = validate(grow("cat/day", "cat/night", "dog/day", "dog/night"))
    assert ran.message == ""
    assert all(rule.success for rule in ran.report.rules)
    assert ran.report.class_names == ["cat", "dog"]


def test_a_split_of_two_says_what_is_lacking(grow: Callable[..., Path]) -> None:
    message = level(
        validate(grow("seg_train/sea", "seg_train/sky", "seg_test/sea", "seg_test/sky"))
    )
    assert "(seg_test, seg_train: named like splits, without val; have three folders" in message


def test_the_usual_names_of_a_split_keep_it(
    grow: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"Training": "train", "Valid": "val", "TEST": "test"}
    ran = validate(grow(*(f"{name}/{label}" for name in splits for label in ("sea", "sky"))))
    assert ran.message == ""
    assert (ran.manifest["split"] == ran.manifest["path"].str.split("/").str[0].map(splits)).all()
    assert Counter(ran.manifest["label"]) == {"sea": 15, "sky": 15}
    assert "split of the folders Training, Valid, TEST: train 10, val 10, test 10" in (
        capsys.readouterr().out
    )


def test_a_folder_beside_a_split_and_the_way_out_that_is_named(grow: Callable[..., Path]) -> None:
    names = [f"{split}/{label}" for split in ("train", "val", "test") for label in ("a1", "b1")]
    images = grow(*names, "unlabeled")
    message = level(validate(images))
    assert (
        "(unlabeled: beside the splits test, train, val; move it elsewhere, or name it" in message
    )
    assert validate(images, exclude=["unlabeled"]).message == ""


def test_a_file_beside_a_split_and_the_way_out_that_is_named(grow: Callable[..., Path]) -> None:
    names = [f"{split}/{label}" for split in ("train", "valid", "test") for label in ("a1", "b1")]
    images = grow(*names)
    (images / "README.dataset.txt").write_text("exported")
    ran = validate(images)
    assert ran.failed == ["unlabeled_files"]
    assert "move others elsewhere, or name them in validate.exclude" in ran.message
    assert validate(images, exclude=["README*"]).message == ""


def test_a_split_below_the_classes_is_not_thrown_away(grow: Callable[..., Path]) -> None:
    names = [f"{label}/{split}" for split in ("train", "val", "test") for label in ("leaf", "root")]
    message = level(validate(grow(*names)))
    assert "(leaf, root: split inside the class (test, train, val), which would not" in message


def test_one_folder_too_deep_is_named_with_what_to_move(grow: Callable[..., Path]) -> None:
    message = level(validate(grow("data/pictures/cat", "data/pictures/dog", each=8)))
    assert "(data: one folder too deep; move cat, dog up from data/pictures)" in message


def test_numbers_are_good_names_of_classes(grow: Callable[..., Path]) -> None:
    assert validate(grow("0", "1", "2023", "007")).message == ""


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("cat", "cat\u200b", "U+200B (zero width space)"),
        ("great dane", "great\u00a0dane", "U+00A0 (no-break space)"),
        ("\u2764", "\u2764\ufe0f", "U+FE0F (variation selector-16)"),
        ("caf\u00e9", "cafe\u0301", "how accents are composed"),
    ],
)
def test_classes_that_look_the_same_are_named_with_the_difference(
    grow: Callable[..., Path], one: str, other: str, how: str
) -> None:
    ran = validate(grow(one, other, "eel"))
    assert ran.failed == ["invalid_names"]
    assert f"{one}/0.png: its class differs from {other} only by {how}" in ran.message
    assert f"{other}/0.png: its class differs from {one} only by {how}" in ran.message
    assert "and 7 more" in ran.message


def test_an_invisible_character_in_a_class_name_is_named(grow: Callable[..., Path]) -> None:
    ran = validate(grow("cat\u200b", "dog", each=8))
    assert ran.failed == ["invalid_names"]
    reason = "an invisible character U+200B (zero width space) in the name of its class"
    assert f"cat\u200b/0.png: {reason}" in ran.message


def test_an_invisible_character_in_a_file_name_is_none_of_our_business(
    grow: Callable[..., Path],
) -> None:
    images = grow("cat", "dog", each=8)
    (images / "cat" / "0.png").rename(images / "cat" / "Screenshot at 1.00\u202fPM.png")
    (images / "dog" / "0.png").rename(images / "dog" / "so\u00adft.png")
    assert validate(images).message == ""
    (images / "dog" / "1.png").rename(images / "dog" / "soft.png")
    assert "only by U+00AD (soft hyphen)" in validate(images).message


@pytest.mark.parametrize("spelled", ["Caf\u00e9", "cafe\u0301", "caf\u00e9\u200d"])
def test_a_class_spelled_otherwise_in_one_split_is_named(
    grow: Callable[..., Path], spelled: str
) -> None:
    names = [f"{split}/{name}" for split in ("train", "val") for name in ("caf\u00e9", "th\u00e9")]
    ran = validate(grow(*names, f"test/{spelled}", "test/th\u00e9"))
    assert ran.failed[0] == "invalid_names"
    assert f"test/{spelled}/0.png: its class differs from caf\u00e9 only by" in ran.message


def test_a_class_named_like_its_split_is_no_twin(grow: Callable[..., Path]) -> None:
    names = [f"{split}/{name}" for split in ("train", "val", "test") for name in ("Train", "Bus")]
    assert validate(grow(*names)).message == ""


def test_groups_match_folders_from_a_system_that_composes_accents_otherwise(
    grow: Callable[..., Path],
) -> None:
    images = grow("cafe\u0301", "the\u0301", each=9)
    lines = [
        f"{unicodedata.normalize('NFC', path.relative_to(images).as_posix())},shop {path.stem}"
        for path in sorted(images.glob("*/*.png"))
    ]
    folder = tables(images.parent / "out")
    (folder / "groups.csv").write_text("\n".join(["path,group", *lines]) + "\n", encoding="utf-8")
    ran = validate(images)
    assert ran.message == ""
    assert ran.report.groups == 9
    assert ran.report.largest_group == 2


def test_a_camera_that_never_moves_names_the_settings_that_join_its_images(tmp_path: Path) -> None:
    scene = np.asarray(
        Image.fromarray(np.random.default_rng(5).integers(40, 215, (16, 16, 3), dtype=np.uint8))
        .resize((160, 160), Image.Resampling.BICUBIC)
    ).astype(float)  # fmt: skip
    for label in ("empty", "part"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for seed in range(8):
            rng = np.random.default_rng([seed, len(label)])
            shot = (scene + rng.normal(0, 3, scene.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(shot).save(tmp_path / "images" / label / f"{seed}.png")
    warned = ["near_duplicate_label_conflicts"]
    ran = validate(tmp_path / "images", max_group_share=1.0, warning_rules=warned)
    assert ran.failed == ["class_missing_from_split"]
    assert (
        "found 2 of 2 class folders (empty, part: a group of 16 near duplicates holds most of it; "
        "if they are different images, raise validate.near_duplicates.min_similarity, lower its "
        "max_hamming_distance, or set near_duplicates to null)"
    ) in ran.message
    assert validate(tmp_path / "images", near_duplicates=None).message == ""


def test_a_listed_group_that_holds_a_class_is_not_blamed_on_near_duplicates(
    grow: Callable[..., Path],
) -> None:
    images = grow("cat", "dog", each=8)
    lines = "".join(f"cat/{number}.png,g\n" for number in range(8))
    (tables(images.parent / "out") / "groups.csv").write_text(f"path,group\n{lines}")
    ran = validate(images, max_group_share=1.0)
    assert ran.failed == ["class_missing_from_split"]
    assert "(cat: is in 1 of 3 splits)" in ran.message
