"""What lies in the folder that `init` was given, and whether a project can be made of it."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from components.core.artifacts import SPLITS
from components.core.data.layout import level_problems
from components.core.errors import InvalidData, MissingInput
from components.core.phrases import count, listing
from components.io.data import scan
from pipeline import IMAGES
from pipeline.image_folder import ImageFolder, look

_SHOWN = 3
_SAMPLE = 500  # files whose headers are read
_ENOUGH = 3  # files of a class that were tried in vain
_AGAIN = "then run the same command again"


def read_source(folder: Path, warning_rules: Collection[str]) -> ImageFolder:
    """The class folders in `folder`, or in the only folder that it holds.

    Args:
        folder: as it was given.
        warning_rules: `validate.warning_rules`; what only warns there is not refused here.

    Raises:
        MissingInput: there is no such folder.
        InvalidData: it holds no data set, or something that must not get into the project.
    """
    if not folder.exists():
        raise MissingInput(f"{folder}: does not exist; give the folder that holds the classes.")
    if not folder.is_dir():
        raise InvalidData(f"{folder}: is a file; give the folder that holds one folder per class.")
    root = Path(os.path.realpath(folder))
    _require_outside(folder, root)
    found = look(root)
    while len(found.class_names) == 1 and _holds_folders(found):
        found = look(found.root / found.class_names[0])
    _require_plain(found)
    _require_classes(found)
    if "class_level" not in warning_rules:
        _require_level(found)
    return found


def read_sizes(folder: ImageFolder) -> tuple[list[tuple[int, int]], list[str]]:
    """Look at the headers of up to 500 files, spread over all of them.

    Returns:
        Width and height of those that are images, and the paths of those that are not.

    Raises:
        InvalidData: no file is an image, or none of those that were tried of a class.
    """
    step = max(1, len(folder.files) // _SAMPLE)
    found = {path: _size(folder.root / path) for path in folder.files[::step]}
    unreadable = [path for path, size in found.items() if size is None]
    tried, failed = (Counter(map(folder.class_of, paths)) for paths in (found, unreadable))
    for name, number in failed.items():
        if number == tried[name] and (number >= _ENOUGH or number == folder.counts[name]):
            raise InvalidData(
                f"{folder.root}: none of {count(number, 'file')} of {name} that were tried is an "
                f"image, {next(p for p in unreadable if folder.class_of(p) == name)} among them; "
                f"move the folder away if it is no class, {_AGAIN}."
            )
    return [size for size in found.values() if size], unreadable


def _require_outside(folder: Path, root: Path) -> None:
    """The source is neither part of the project, but for its images, nor the project part of it."""
    project = Path.cwd().resolve()
    if root == project / IMAGES:
        return
    if project == root or project.is_relative_to(root):
        raise InvalidData(f"{folder}: holds this project; give a folder of images alone.")
    if root.is_relative_to(project):
        raise InvalidData(
            f"{folder}: lies inside this project, where git or DVC may remove it; move it out, or "
            f"make it {IMAGES} and give that."
        )


def _holds_folders(found: ImageFolder) -> bool:
    """Whether no image lies above or directly in the only class folder, but some lie deeper."""
    direct = [path for path in (*found.stray, *found.files) if path.count("/") < 2]
    return len(direct) < len(found.files) + len(found.stray) and not _images(found.root, direct)


def _require_plain(found: ImageFolder) -> None:
    """Nothing but regular files with names that everybody can write."""
    if found.others:
        shown = [f"{scan.printable(path)} is {_kind(found, path)}" for path in found.others]
        raise InvalidData(
            f"{found.root}: {listing(shown, _SHOWN)}; what a link leads to would get into the "
            f"project: put the images themselves there, remove what is none, {_AGAIN}."
        )
    names = (*found.files, *found.class_names)
    if odd := [text for path in names if (text := scan.printable(path)) != path]:
        raise InvalidData(
            f"{found.root}: {listing(odd, _SHOWN)}: names with control or undecodable characters; "
            f"rename them, {_AGAIN}."
        )


def _kind(found: ImageFolder, path: str) -> str:
    kind = found.others[path]
    if kind != scan.LINK:
        return kind
    return f"{kind} to {scan.printable(os.path.realpath(found.root / path))}"


def _require_classes(found: ImageFolder) -> None:
    root, names = found.root, found.class_names
    if images := _images(root, found.stray):
        raise InvalidData(
            f"{root}: {count(len(images), 'image')} in no class folder, such as {images[0]}; put "
            f"each image into a folder named after its class, {_AGAIN}."
        )
    if not found.files:
        raise InvalidData(f"{root}: holds no file in a class folder; give a folder of images.")
    if len(names) == 1:
        raise InvalidData(
            f"{root}: holds only one class, {names[0]}; a classifier needs two or more folders."
        )
    for split, counts in found.by_split.items():
        if missing := sorted(set(found.counts) - set(counts)):
            raise InvalidData(
                f"{found.root}: the ready-made split {split} has no image of "
                f"{listing(missing, _SHOWN)}; add some, or merge the three splits into one folder "
                f"per class, {_AGAIN}."
            )
    least = len(SPLITS)
    few = {name: n for name, n in found.counts.items() if n < least}
    if few:
        shown = [f"{name} ({number})" for name, number in few.items()]
        raise InvalidData(
            f"{root}: too few images of {listing(shown, _SHOWN)}; each class needs {least} or "
            f"more, one for each of {', '.join(SPLITS)}: add some, or remove the folder, {_AGAIN}."
        )


def _require_level(found: ImageFolder) -> None:
    """The class folders are classes, and not splits, cameras or days."""
    above = bool(found.by_split)
    folders = Counter(tuple(path.split("/")[above:-1]) for path in found.files)
    problems = level_problems(folders, found.class_names)
    for reason in problems.values():
        names = [name for name, other in problems.items() if other == reason]
        raise InvalidData(
            f"{found.root}: {listing(names, _SHOWN)}: {reason}; or add class_level to "
            f"validate.warning_rules, if they are the classes."
        )


def _images(root: Path, paths: Sequence[str]) -> list[str]:
    """Those that are images."""
    return [path for path in paths if _size(root / path)]


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height from the header; None for what is no image that Pillow knows."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                return image.size
        except Exception:  # noqa: BLE001 - validate says what is wrong with it
            return None
