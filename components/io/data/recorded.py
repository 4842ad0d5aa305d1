"""What DVC recorded of the images: the MD5 of every file, where its list is at hand."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import InvalidData

# DVC 3 hashes the bytes as they are; before, it hashed what looks like text with Unix line ends.
_POINTER = re.compile(r"^- md5: ([0-9a-f]{32}\.dir)$.*^  hash: md5$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Recorded:
    """What is known of the images.

    Attributes:
        md5s: relative path -> MD5 in hex, as of the last `dvc add`; empty where that is not known.
        unknown: why it is not, although there is a pointer; empty otherwise.
    """

    md5s: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""


def read(images: Path) -> Recorded:
    """Read the list that the pointer beside the images names.

    DVC itself trusts the objects in its cache, and what it once took from there.

    Args:
        images: the image folder; its pointer lies beside it.

    Raises:
        InvalidData: the list is damaged.
    """
    pointer = images.with_name(f"{images.name}.dvc")
    if not pointer.exists():
        return Recorded()
    try:
        found, cache = _POINTER.search(pointer.read_text()), _cache(pointer)
        if not found:
            return Recorded(unknown=f"it is not as DVC 3 writes it; `dvc add {images}` does")
        if not cache:
            return Recorded(unknown="it is in no repository of DVC")
        place = cache / "files/md5" / found[1][:2] / found[1][2:]
        content = place.read_bytes()
    except FileNotFoundError as error:
        return Recorded(unknown=f"its list {error.filename} is not there; `dvc pull` fetches it")
    except (OSError, ValueError, ConfigError) as error:
        return Recorded(unknown=" ".join(str(error).split()))
    if f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir" != found[1]:
        raise InvalidData(
            f"{place}: is damaged, so {images} cannot be compared with {pointer}; delete it and "
            "run `dvc pull`, then the same command again."
        )
    return Recorded({entry["relpath"]: entry["md5"] for entry in json.loads(content)})


def _cache(pointer: Path) -> Path | None:
    """DVC's cache of the repository that the pointer is in."""
    for folder in pointer.absolute().parents:
        if (folder / ".dvc").is_dir():
            config = ConfigParser(interpolation=None)
            config.read([folder / ".dvc/config", folder / ".dvc/config.local"])
            return folder / ".dvc" / config.get("cache", "dir", fallback="cache")
    return None
