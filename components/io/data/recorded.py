"""What DVC recorded of the images: the MD5 of every file, where its list is at hand."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path

# DVC 3 hashes the bytes as they are; before, it hashed what looks like text with Unix line ends.
_POINTER = re.compile(r"^- md5: ([0-9a-f]{32}\.dir)$.*^  hash: md5$", re.MULTILINE | re.DOTALL)


def read(images: Path) -> Mapping[str, str]:
    """Relative path -> MD5 in hex, as of the last `dvc add`; empty where that is not known.

    DVC itself trusts the objects in its cache, and what it once took from there.

    Args:
        images: the image folder; its pointer lies beside it.
    """
    pointer = images.with_name(f"{images.name}.dvc")
    try:
        found = _POINTER.search(pointer.read_text())
        cache = _cache(pointer)
        if not found or not cache:
            return {}
        name = found[1]
        content = (cache / "files/md5" / name[:2] / name[2:]).read_bytes()
        if f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir" != name:
            return {}
        return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
    except (OSError, ValueError, ConfigError):
        return {}


def _cache(pointer: Path) -> Path | None:
    """DVC's cache of the repository that the pointer is in."""
    for folder in pointer.absolute().parents:
        if (folder / ".dvc").is_dir():
            config = ConfigParser(interpolation=None)
            config.read([folder / ".dvc/config", folder / ".dvc/config.local"])
            return folder / ".dvc" / config.get("cache", "dir", fallback="cache")
    return None
