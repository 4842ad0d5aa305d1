"""Names of files and folders: which are no data, which cannot be seen, which are hardly two."""

from __future__ import annotations

import re
import unicodedata
from fnmatch import translate

# What systems, storage boxes and tools leave between images. Patterns of one name of a path, file
# or folder, as in `fnmatch`; case does not matter, but in a pattern in capitals it does: `recycled`
# may be a class. A colon is also what stands for it where a file system has none (U+F03A, U+F022).
# Not here: *.part, *.crdownload, *.tmp. They may be half an image, which a person should know of.
IGNORED_NAMES: tuple[str, ...] = (
    ".*",  # hidden: .DS_Store ._x .Trash-1000 .Spotlight-V100 .snapshot .nfs* .fuse_hidden*
    # Windows
    "thumbs.db",
    "ehthumbs*.db",
    "desktop.ini",
    "$recycle.bin",
    "RECYCLER",
    "RECYCLED",
    "system volume information",
    "found.[0-9][0-9][0-9]",
    "~$*",  # a document is open
    "@gmt-*",  # previous versions on a share
    # streams beside a file, which other systems show as files of their own
    "*zone.identifier",
    "*zone.identifier:$data",
    "*:encryptable",
    "*:smartscreen",
    "*:afp_*",
    "*:com.apple.*",
    "*:com.dropbox.*",
    "*:$data",
    # macOS
    "__macosx",
    "icon\r",
    "icon\uf00d",
    "network trash folder",
    "temporary items",
    "thevolumesettingsfolder",
    # Linux, Android
    "lost+found",
    "lost.dir",
    # storage boxes: recycle bins, snapshots, thumbnails
    "#recycle",
    "@recycle",
    "@recycle.bin",
    "files_trashbin",
    "#snapshot",
    "~snapshot",
    "@recently-snapshot",
    "@snapshot",
    "@eadir",
    "@tmp",
    "@__thumb",
    "*@synoresource",
    "*@synoeastream",
    "#@*",
    "~syncthing~*",
    # tools of this project
    "__pycache__",
    "*.dvc",
)


def _pattern(glob: str) -> str:
    regex = translate(glob.replace(":", "[:\uf022\uf03a]"))
    return regex if glob.isupper() else f"(?i:{regex})"


_IGNORED = re.compile("|".join(map(_pattern, IGNORED_NAMES)))

# Characters that take no room though their category is not Cf: fillers of Hangul, the grapheme
# joiner, variation selectors (Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt).
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Never part of a spelling: byte order mark, soft hyphen, word joiner.
_NEVER = "\ufeff\u00ad\u2060"
# Spaces whatever their category: zero width, and the empty pattern of Braille.
_SPACES = "\u200b\u2800"


def is_ignored(path: str) -> bool:
    """Whether a name in the path is one of IGNORED_NAMES."""
    return any(_IGNORED.match(part) for part in path.rstrip("/").split("/"))


def invisible(name: str) -> str:
    """Which invisible character a name has without need, e.g. "U+200B (zero width space)".

    Joiners, marks of direction and variation selectors belong to the spelling of many scripts and
    of emoji: between two ASCII characters they have no use. Spaces other than U+0020 have none
    there and at either end.

    Returns:
        The first such character with its name in Unicode; empty when there is none.
    """
    if name.isascii():
        return ""
    for position, character in enumerate(name):
        before, after = (_visible(part) for part in (name[:position], name[position + 1 :]))
        useless = (before[-1:] + after[:1]).isascii() or character in _NEVER
        at_end = _is_other_space(character) and not (before and after)
        if not _visible(character) and (useless or at_end):
            return _described(character)
    return ""


def folded(text: str) -> str:
    """What remains of a name for people, and for systems that tell no case or spelling apart.

    NFKC and case folded, without what takes no room, and with one kind of space.
    """
    if text.isascii():
        return text.lower()
    spaced = "".join(" " if _is_other_space(c) and c != "\u200b" else c for c in text)
    seen = unicodedata.normalize("NFKC", _visible(spaced))
    return unicodedata.normalize("NFKC", seen.casefold())


def difference(one: str, other: str) -> str:
    """How two names differ that are `folded` alike, e.g. "case"."""
    composed = unicodedata.normalize("NFC", one), unicodedata.normalize("NFC", other)
    if composed[0] == composed[1]:
        return "how accents are composed"
    if composed[0].casefold() == composed[1].casefold():
        return "case"
    odd = sorted(c for c in set(composed[0]) ^ set(composed[1]) if not c.isascii())
    return " and ".join(map(_described, odd[:2]))


def _visible(text: str) -> str:
    """Without what takes no room and spaces other than U+0020."""
    return "".join(
        c
        for c in text
        if unicodedata.category(c) != "Cf" and not _IGNORABLE.match(c) and not _is_other_space(c)
    )


def _is_other_space(character: str) -> bool:
    return character in _SPACES or (character != " " and unicodedata.category(character) == "Zs")


def _described(character: str) -> str:
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'without a name').lower()})"
