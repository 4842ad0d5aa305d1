"""Which level of folders is the classes: a ready-made split above them, or what only looks so."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import permutations

from components.core.artifacts import SPLITS, Split
from components.core.data.names import folded
from components.core.phrases import listing

Folders = tuple[str, ...]

# The usual words for a split; an evaluation set is what the other two leave.
_SPLIT_WORDS: Mapping[str, tuple[Split, ...]] = {
    "train": ("train",),
    "training": ("train",),
    "val": ("val",),
    "valid": ("val",),
    "validate": ("val",),
    "validation": ("val",),
    "dev": ("val",),
    "development": ("val",),
    "test": ("test",),
    "testing": ("test",),
    "holdout": ("test",),
    "heldout": ("test",),
    "eval": ("val", "test"),
    "evaluation": ("val", "test"),
}
# What stands beside such a word without a meaning of its own, e.g. training_set, test-images-2.
_PADDING = re.compile(r"[\W\d_]|datasets?|data|sets?|images?|imgs?|splits?|folder")

# Words for how images were taken or treated, and for where they come from: rarely classes.
_VIEWS = frozenset(
    re.findall(
        r"\w+",
        """
        day night morning noon evening dawn dusk indoor indoors outdoor outdoors inside outside
        left right center centre middle front frontal back rear side top bottom above below upper
        lower near far close closeup wide north south east west small medium large low high
        summer winter spring autumn fall sunny cloudy rainy rain snow fog dry wet light dark bright
        dim flash raw original originals augmented augmentation processed unprocessed cropped crop
        crops resized full color colour gray grey grayscale bw rgb infrared ir thermal clean noisy
        blurred blurry sharp old new real synthetic generated fake rendered printed handwritten
        images image img imgs pictures photos videos frames masks thumbnails jpg jpeg png tiff tif
        bmp gif webp misc other others male female adult juvenile young
        january february march april may june july august september october november december
        monday tuesday wednesday thursday friday saturday sunday weekday weekend
        camera cam fold session batch site device sensor scanner patient subject shift week run
        round part source annotator labeler user lab
        """,
    )
)
# A number behind one of these counts classes, not cameras or folds.
_CLASS_WORDS = {"class", "classes", "category", "label", "type", "kind", "species", "grade"}
_NUMBER = re.compile(r"\d+|(?<![^\W_])[^\W\d_](?![^\W_])")  # or a single letter: line A
_YEAR = re.compile(r"(?<!\d)(19|20)\d\d(?!\d{3})")

_NAMED = 3  # folders that a reason lists


def split_folders(names: Collection[str]) -> dict[str, Split]:
    """The split of each top folder, if they are a training, a validation and a test set.

    Args:
        names: of all top folders, e.g. Train, valid and test, or seg_train, seg_dev and seg_test.

    Returns:
        By name; empty unless each split is there exactly once, under one scheme of names.
    """
    if len(names) != len(SPLITS) or _named_like_splits(names) != [set(names)]:
        return {}
    fitting = [
        dict(zip(order, SPLITS, strict=True))
        for order in permutations(names)
        if all(split in _splits_of(name)[1] for name, split in zip(order, SPLITS, strict=True))
    ]
    return fitting[0] if len(fitting) == 1 else {}


def level_problems(images: Mapping[Folders, int], class_names: Collection[str]) -> dict[str, str]:
    """Why class folders are hardly classes.

    Args:
        images: number of images directly in each folder, by its path below the split: class, then
            deeper folders.
        class_names: of all class folders, also of those without an image.

    Returns:
        Reasons by name of the class folder.
    """
    inside: defaultdict[Folders, set[str]] = defaultdict(set)
    for path in images:
        for depth in range(len(path)):
            inside[path[:depth]].add(path[depth])
    return (
        _incomplete_split(class_names)
        or _too_deep(class_names, inside)
        or {**_containers(images, inside), **_splits_inside(inside)}
    )


def _splits_of(name: str) -> tuple[str, tuple[Split, ...]]:
    """The scheme and the splits that a name may stand for: seg_train -> ("seg", ["train"])."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    text = re.sub(r"(hold|held)[\W_]?out", r"\1out", text)
    scheme, found = [], []
    for word in re.findall(r"[^\W\d_]+", text):
        bare = _PADDING.sub("", word)
        if splits := _SPLIT_WORDS.get(word) or _SPLIT_WORDS.get(bare):
            found.append(splits)
        else:
            scheme.append(bare)
    return "".join(scheme), found[0] if len(found) == 1 else ()


def _named_like_splits(names: Iterable[str]) -> list[set[str]]:
    """Sets of names that stand for several splits under one scheme."""
    schemes: defaultdict[str, dict[str, tuple[Split, ...]]] = defaultdict(dict)
    for name in names:
        scheme, splits = _splits_of(name)
        if splits:
            schemes[scheme][name] = splits
    return [set(found) for found in schemes.values() if len(set(found.values())) > 1]


def _incomplete_split(class_names: Collection[str]) -> dict[str, str]:
    """Top folders that stand for splits, but not for each of them once and for nothing else."""
    reasons: dict[str, str] = {}
    for names in _named_like_splits(class_names):
        if extra := sorted(set(class_names) - names) if split_folders(names) else []:
            beside = f"beside the splits {_list(names)}; move it elsewhere, or name it in "
            reasons |= dict.fromkeys(extra, f"{beside}validate.exclude")
            continue
        covered = Counter(split for name in names for split in _splits_of(name)[1])
        lacking = [split for split in SPLITS if not covered[split]]
        what = f"without {' and '.join(lacking)}" if lacking else "with one of them twice"
        reasons |= dict.fromkeys(
            sorted(names),
            f"named like splits, {what}; have three folders train, val and test, or merge them "
            "into one folder per class, which validate then splits",
        )
    return reasons


def _too_deep(
    class_names: Collection[str], inside: Mapping[Folders, Collection[str]]
) -> dict[str, str]:
    """A single class folder that holds several folders: these are the classes, or the splits."""
    if len(class_names) != 1:
        return {}
    path = tuple(class_names)
    while len(inside.get(path, ())) == 1:
        path += tuple(inside[path])
    if not (folders := inside.get(path)):
        return {}
    return {path[0]: f"one folder too deep; move {_list(folders)} up from {'/'.join(path)}"}


def _splits_inside(inside: Mapping[Folders, Collection[str]]) -> dict[str, str]:
    """A split below the class: it would be thrown away."""
    reasons = {}
    for path, folders in inside.items():
        for names in _named_like_splits(folders) if path else ():
            reasons[path[0]] = (
                f"split inside the class ({_list(names)}), which would not be kept; have train/, "
                "val/ and test/ at the top with the classes inside, or merge it"
            )
    return reasons


def _containers(
    images: Mapping[Folders, int], inside: Mapping[Folders, Collection[str]]
) -> dict[str, str]:
    """Class folders that share their subfolders, so that these may be the classes.

    camera1/{cat, dog} beside camera2/{cat, dog} and cat/{day, night} beside dog/{day, night} look
    alike. What tells them apart are the names of both levels: numbers, dates and views are rarely
    classes. Where neither level has such names, or both, a person must say: a model that tells
    cameras apart looks fine until it is used.
    """
    alike, shared = _sharing(images, inside)
    above, below = _is_series(alike), _is_series(shared, plain_numbers=True)
    held = {folded(name): name for top in alike for name in sorted(inside[top,])}
    if len(held) < 2 or (len(shared) < 2 and not above) or (below and not above):
        return {}
    if above == below and 2 * len(alike) < len(inside[()]):
        return {}  # the other folders show that the top is the level of the classes
    which = (
        " and are named like parts of a data set, not like classes"
        if above and not below
        else ", so either level may be the classes"
    )
    reason = (
        f"hold the same folders ({_list(shared)}){which}; if {_list(held.values())} are the "
        f"classes, swap the levels ({shared[0]}/{alike[0]}), with validate.group_pattern "
        f"'/([^/]+)/[^/]+$' to keep {alike[0]} in one split"
    )
    return dict.fromkeys(alike, reason)


def _sharing(
    images: Mapping[Folders, int], inside: Mapping[Folders, Collection[str]]
) -> tuple[list[str], list[str]]:
    """The class folders at least half of whose subfolders are in others too, and these folders.

    A class folder with most of its images outside subfolders is one.
    """
    total: Counter[str] = Counter()
    for path, number in images.items():
        total[path[0]] += number
    tops = [top for top in sorted(inside.get((), ())) if 2 * images.get((top,), 0) < total[top]]
    spread = Counter(name for top in tops for name in {folded(sub) for sub in inside[top,]})
    alike = []
    for top in tops:
        common = [sub for sub in inside[top,] if spread[folded(sub)] > 1]
        if 2 * len(common) >= len(inside[top,]):
            alike.append(top)
    names = {folded(sub): sub for top in alike for sub in sorted(inside[top,])}
    return alike, sorted(sub for key, sub in names.items() if spread[key] > 1)


def _is_series(names: Sequence[str], *, plain_numbers: bool = False) -> bool:
    """Whether names differ by a number, a letter or a date only, or are all of them views.

    Args:
        names: of folders of one level.
        plain_numbers: whether 0, 1, 2 and A, B, C count, which may be classes.
    """
    words = [set(re.findall(r"[^\W\d_]+", folded(name))) for name in names]
    if len(names) < 2 or all(found & _VIEWS for found in words):
        return len(names) > 1
    stems = {_NUMBER.sub("#", folded(name)) for name in names}
    if len(stems) > 1 or "#" not in stems.pop():
        return False
    if any(len(word) > 1 for word in words[0]):
        return not _CLASS_WORDS & words[0]
    return plain_numbers or all(_YEAR.search(name) for name in names)


def _list(names: Iterable[str]) -> str:
    return listing(sorted(names), _NAMED)
