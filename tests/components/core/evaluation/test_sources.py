"""Which folders and groups count as a source of images."""

from components.core.evaluation.mistakes import _shortcut
from components.core.evaluation.sources import sources

CLASSES = ["cat", "dog"] * 20


def subfolders(folders: list[str], split: str = "") -> dict[str, list[tuple[str, str]]]:
    """What is found of images in these folders, each a group of its own."""
    paths = [
        "/".join(part for part in (split, label, folder, f"{k}.png") if part)
        for k, (label, folder) in enumerate(zip(CLASSES, folders, strict=True))
    ]
    return sources(paths, CLASSES, [f"{k:064}" for k in range(len(paths))])


def test_a_folder_that_classes_share_is_a_source_and_may_give_the_class_away() -> None:
    telling = ["a", "b"] * 18 + ["b", "a"] * 2
    expected = list(zip(telling, CLASSES, strict=True))
    assert subfolders(telling) == {"source (subfolder)": expected}
    assert subfolders(telling, "train") == {"source (subfolder)": expected}, "below a split"
    finding = _shortcut(subfolders(telling))
    assert finding is not None
    assert "the source (subfolder) of a file alone gives the right class in 90%" in str(finding)
    mixed = ["a", "a", "b", "b"] * 10
    assert _shortcut(subfolders(mixed)) is None


def test_parts_of_one_class_are_no_source() -> None:
    assert subfolders(["siamese", "poodle"] * 20) == {}
    assert subfolders(["siamese", "poodle"] * 18 + ["other"] * 4) == {}, "the few they share"


def test_no_folder_one_folder_or_one_each_are_no_source() -> None:
    assert subfolders([""] * 40) == {}
    assert subfolders(["all"] * 40) == {}
    assert subfolders([str(k // 2) for k in range(40)]) == {"source (subfolder)": [
        (str(k // 2), label) for k, label in enumerate(CLASSES)
    ]}, "twenty are the most"  # fmt: skip
    assert subfolders([str(k // 2 + (k > 37)) if k < 38 else f"{k}" for k in range(40)]) == {}


def test_groups_that_classes_share_are_a_source() -> None:
    paths = [f"{label}/{k}.png" for k, label in enumerate(CLASSES)]
    groups = ["a", "b"] * 10 + ["b", "a"] * 10
    found = sources(paths, CLASSES, groups)
    assert found == {"source (group)": list(zip(groups, CLASSES, strict=True))}
    assert sources(paths, ["another"] * 40, groups) == {}, "a folder of another name"
