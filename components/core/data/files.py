"""What is known of each file below the image folder: its place, its content, and its status.

There may be millions of them, hence the slots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from components.core.artifacts import Split
from components.core.data.decoding import DoubtRule
from components.core.data.fingerprints import Fingerprints
from components.core.data.headers import SideRule

FileRule = (
    Literal[
        "", "invalid_names", "non_regular_files", "unlabeled_files", "formats", "max_unreadable"
    ]
    | SideRule
)
Status = Literal["used", "quarantined", "ignored"]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The content of an image, in the words of the manifest; empty when undecodable.

    Attributes:
        pixel_sha256: of `fingerprints.pixel_digest`.
        phash: of `fingerprints.perceptual_hash`.
        width: pixels, after orientation.
        height: pixels, after orientation.
        mode: Pillow's mode as stored in the file.
        format: Pillow's format name, found in the content.
        doubts: of `decoding.Decoded`.
    """

    pixel_sha256: str = ""
    phash: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    doubts: tuple[tuple[DoubtRule, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file found.

    Attributes:
        path: relative to the image folder; characters that cannot be shown are escaped.
        label: class name; empty outside the class folders.
        split: of a predefined split; otherwise empty.
        status: whether it is used.
        rule: the rule of the suite that the file breaks all by itself.
        reason: why it is not used; empty when it is.
        sha256: of the bytes; empty when they were not read.
        bytes: file size.
        info: what the bytes decode to.
    """

    path: str
    label: str = ""
    split: Split | Literal[""] = ""
    status: Status = "used"
    rule: FileRule = ""
    reason: str = ""
    sha256: str = ""
    bytes: int = 0
    info: ImageInfo = ImageInfo()

    def quarantined(self, rule: FileRule, reason: str) -> ImageFile:
        """The same file, not to be used."""
        return replace(self, status="quarantined", rule=rule, reason=reason)


@dataclass(frozen=True)
class Scan:
    """Everything found below the image folder.

    Attributes:
        files: all of them, by path.
        class_names: of the class folders, sorted; empty folders too.
        split_folders: the split of each top folder of a predefined split; otherwise empty.
        fingerprints: of images, by the sha256 of their files; they are kept on disk.
    """

    files: list[ImageFile]
    class_names: list[str]
    split_folders: Mapping[str, Split]
    fingerprints: Callable[[Sequence[str]], Fingerprints] = field(compare=False)
