"""A folder of images as its names tell: classes, ready-made splits, what lies in the way.

No image is opened: a hundred thousand files take a second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.core.artifacts import Split
from components.core.data.layout import split_folders
from components.io.data import scan


@dataclass(frozen=True)
class ImageFolder:
    """What lies below a folder; junk is left out.

    Attributes:
        root: the folder.
        files: in class folders, relative, sorted; links into a DVC cache are files, too.
        stray: regular files above the class folders, relative, sorted.
        others: what is neither file nor folder, relative -> what it is.
        counts: files of each class, by class.
        by_split: the same by ready-made split and class; empty when the top level is the classes.
    """

    root: Path
    files: list[str]
    stray: list[str]
    others: Mapping[str, str]
    counts: Mapping[str, int]
    by_split: Mapping[Split, Mapping[str, int]]

    def class_of(self, path: str) -> str:
        """The class of one of `files`."""
        return path.split("/")[bool(self.by_split)]

    @property
    def class_names(self) -> list[str]:
        """Of the class folders, sorted; empty folders too."""
        return sorted(self.counts)


def look(root: Path) -> ImageFolder:
    """List the folder, as validate will read it."""
    files, others, folders = [], {}, []
    for path, kind in scan.entries(root):
        if kind == "folder":
            folders.append(path.rstrip("/"))
        elif kind == "file":
            files.append(path)
        else:
            others[path] = kind
    splits = split_folders([path for path in folders if "/" not in path])
    depth = int(bool(splits))  # of the class folders
    counts = Counter({path.split("/")[-1]: 0 for path in folders if path.count("/") == depth})
    by_split: defaultdict[Split, Counter[str]] = defaultdict(Counter)
    labeled = [path for path in files if path.count("/") > depth]
    for path in labeled:
        parts = path.split("/")
        counts[parts[depth]] += 1
        if splits:
            by_split[splits[parts[0]]][parts[1]] += 1
    stray = sorted(set(files) - set(labeled))
    return ImageFolder(root, sorted(labeled), stray, others, dict(counts), dict(by_split))
