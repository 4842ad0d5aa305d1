"""Which folders are classes: by hand, on the layouts that people have."""

import pytest

from components.core.data.layout import level_problems, split_folders


def problems(*folders: str) -> dict[str, str]:
    """What is wrong with a tree of twenty images in each of these folders."""
    images = {tuple(folder.split("/")): 20 for folder in folders}
    return level_problems(images, {top for top, *_ in images})


def tree(tops: str, subfolders: str) -> list[str]:
    return [f"{top}/{sub}" for top in tops.split() for sub in subfolders.split()]


@pytest.mark.parametrize(
    "names",
    [
        "train val test",
        "Train VALID Test",
        "training validation testing",
        "seg_train seg_dev seg_test",
        "training_set validation_set test_set",
        "TrainImages ValImages TestImages",
        "train2017 val2017 test2015",
        "train dev eval",
        "train eval test",
        "train valid hold-out",
        "01-train 02-val 03-test",
        "train_70 val_15 test_15",
    ],
)
def test_a_split_is_recognized_by_its_usual_names(names: str) -> None:
    folders = names.split()
    expected = dict(zip(folders, ("train", "val", "test"), strict=True))
    assert split_folders(folders) == expected
    assert split_folders(folders[::-1]) == expected


@pytest.mark.parametrize(
    "names",
    [
        "train test",
        "train val",
        "train val test unlabeled",
        "train training test",
        "train bus test",
        "train eval evaluation",
        "train_cat val_dog test_cat",
        "trainval val test",
        "dev eval holdout",
        "cat dog owl",
        "0 1 2",
        "",
    ],
)
def test_anything_else_is_no_split(names: str) -> None:
    assert split_folders(names.split()) == {}


@pytest.mark.parametrize(
    ("tops", "lacking"),
    [
        ("seg_train seg_test", "without val"),
        ("train val", "without test"),
        ("dev eval holdout", "without train"),
        ("train training test val", "with one of them twice"),
        ("train_cat train_dog test_cat test_dog", "without val"),
    ],
)
def test_a_split_that_is_not_whole_is_named_with_what_it_lacks(tops: str, lacking: str) -> None:
    found = problems(*tops.split())
    assert set(found) == set(tops.split())
    assert all(f"named like splits, {lacking}" in reason for reason in found.values())


def test_classes_that_share_a_word_with_splits_are_classes() -> None:
    assert problems("bus", "train", "car") == {}
    assert problems("test_ok", "test_scratch") == {}


def test_the_folder_beside_a_split_is_named() -> None:
    found = problems(*tree("Train Valid Test", "leaf flower"), "unlabeled")
    assert found == {
        "unlabeled": "beside the splits Test, Train, Valid; move it elsewhere, or name it in "
        "validate.exclude"
    }


@pytest.mark.parametrize(
    ("tops", "subfolders"),
    [
        ("fold_1 fold_2 fold_3", "forest sea"),
        ("camera1 camera2", "cat dog"),
        ("2023 2024", "cat dog"),
        ("2023-05-01 2024-01-31", "cat dog"),
        ("line-A line-B", "ok scratch"),
        ("left right", "cat dog"),
        ("lab_north lab_south", "ok scratch"),
        ("patient_001 patient_002", "benign malignant"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(tops: str, subfolders: str) -> None:
    found = problems(*tree(tops, subfolders))
    first, inside = min(tops.split()), ", ".join(sorted(subfolders.split()))
    assert set(found) == set(tops.split())
    for reason in found.values():
        assert f"hold the same folders ({inside}) and are named like parts" in reason
        assert f"swap the levels ({inside.split(',')[0]}/{first})" in reason


@pytest.mark.parametrize(
    ("tops", "subfolders"),
    [
        ("cat dog", "day night"),
        ("cat dog", "2023 2024"),
        ("cat dog", "camera1 camera2"),
        ("cat dog", "1 2 3"),
        ("cat dog", "images"),
        ("0 1 2", "printed handwritten"),
        ("class_1 class_2", "day night"),
        ("sku_1 sku_2", "images"),
        ("A B", "upper lower"),
    ],
)
def test_views_inside_classes_are_no_classes(tops: str, subfolders: str) -> None:
    assert problems(*tree(tops, subfolders)) == {}


@pytest.mark.parametrize(
    ("tops", "subfolders"),
    [("apple pear", "ripe rotten"), ("1 2", "cat dog"), ("camera1 camera2", "day night")],
)
def test_where_both_levels_may_be_classes_a_person_must_say(tops: str, subfolders: str) -> None:
    found = problems(*tree(tops, subfolders))
    assert set(found) == set(tops.split())
    assert all("so either level may be the classes" in reason for reason in found.values())


def test_an_overlap_by_half_is_enough() -> None:
    assert set(problems("2023/cat", "2024/cat", "2024/dog")) == {"2023", "2024"}
    found = problems(*tree("camera1", "cat dog owl"), *tree("camera2", "Cat Dog eel"))
    assert set(found) == {"camera1", "camera2"}
    assert problems(*tree("camera1", "cat dog owl"), *tree("camera2", "cat eel fox hen")) == {}


def test_unlike_subfolders_and_images_beside_them_show_classes() -> None:
    assert problems(*tree("animal", "cat dog"), *tree("vehicle", "car bus")) == {}
    images: dict[tuple[str, ...], int] = {("apple",): 60, ("pear",): 60}
    images |= {(top, sub): 9 for top in ("apple", "pear") for sub in ("ripe", "rotten")}
    assert level_problems(images, {"apple", "pear"}) == {}


def test_a_stray_image_does_not_make_a_fold_a_class() -> None:
    images: dict[tuple[str, ...], int]
    images = {(f"fold{n}", name): 20 for n in (1, 2) for name in ("cat", "dog")}
    assert set(level_problems(images | {("fold1",): 1}, {"fold1", "fold2"})) == {"fold1", "fold2"}


def test_two_nested_classes_among_many_plain_ones_are_classes() -> None:
    assert problems("cat", "dog", "eel", *tree("owl eagle", "roof barn")) == {}


@pytest.mark.parametrize("below", ["train val test", "Training Testing"])
def test_a_split_below_the_class_is_named(below: str) -> None:
    found = problems(*tree("leaf flower", below), "root")
    assert set(found) == {"leaf", "flower"}
    assert all("split inside the class" in reason for reason in found.values())
    deeper = problems(*(f"leaf/images/{name}" for name in below.split()), "root")
    assert set(deeper) == {"leaf"}


@pytest.mark.parametrize("above", ["my_dataset", "data/images"])
def test_a_folder_too_much_is_named_with_what_to_move(above: str) -> None:
    found = problems(*(f"{above}/{name}" for name in ("cat", "dog")))
    assert found == {
        above.split("/")[0]: f"one folder too deep; move cat, dog up from {above}",
    }
    assert problems("cat") == {}
    assert problems("cat/a/b") == {}
