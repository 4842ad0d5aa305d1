"""params.yaml with other values and reasons: whatever else is in it stays as it is, to the byte."""

from __future__ import annotations

import json
import re
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.core.errors import InvalidParams
from components.io import params
from pipeline.new_project.facts import SECTION, Choice

_WIDTH = 100
_LAYOUT = "lay the file out as in git, one setting a line, then run the same command again"


def value_of(raw: Mapping[str, Any], key: str) -> object:
    """The value of a dotted key in settings as they are read; None when it is not there."""
    place: object = raw
    for name in key.split("."):
        place = place.get(name) if isinstance(place, Mapping) else None
    return place


def with_choices(path: Path, choices: Sequence[Choice]) -> str:
    """The text of params.yaml with these values, each with its reason as the comment.

    Args:
        path: the file; it is not changed.
        choices: what is written; doing it twice gives the same text.

    Raises:
        InvalidParams: the file is not laid out as DVC writes it, so that a value cannot be found.
    """
    before, lines = params.read_yaml(path), path.read_text(encoding="utf-8").splitlines()
    for choice in choices:
        first, last = _extent(lines, choice, path)
        lines[first:last] = _written(lines[first], choice)
    text = "\n".join(lines) + "\n"
    expected = [(c.key, c.value) for c in choices if c.value is not SECTION]
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / path.name
        copy.write_text(text, encoding="utf-8")
        after = params.read_yaml(copy)
    # Whatever the layout was: the values are there, and no other has changed.
    for key, value in expected:
        _set(before, key, value)
    if after != before:
        raise InvalidParams(f"{path}: cannot be changed setting by setting; {_LAYOUT}.")
    return text


def _set(raw: dict[str, Any], key: str, value: object) -> None:
    *sections, name = key.split(".")
    for section in sections:
        raw = raw[section]
    raw[name] = value


def _extent(lines: Sequence[str], choice: Choice, path: Path) -> tuple[int, int]:
    """The lines of a key: its own, its comment, and its value unless that is a section."""
    start, indent = 0, -1
    for name in choice.key.split("."):
        found = _find(lines, name, start, indent)
        if found is None:
            raise InvalidParams(
                f"{path}: {choice.key} does not stand on a line of its own; {_LAYOUT}."
            )
        start, indent = found, _indent(lines[found])
    end = start + 1
    while end < len(lines) and _belongs(lines[end], indent, choice):
        end += 1
    return start, end


def _find(lines: Sequence[str], name: str, section: int, indent: int) -> int | None:
    """The line of a key directly inside the section that begins at a line; -1 = the whole file."""
    inner: int | None = None
    for number in range(section + (indent >= 0), len(lines)):
        line = lines[number]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if _indent(line) <= indent and not line.lstrip().startswith("- "):
            return None
        inner = _indent(line) if inner is None else inner
        if _indent(line) == inner and re.match(rf"\s*{re.escape(name)}:(\s|$)", line):
            return number
    return None


def _belongs(line: str, indent: int, choice: Choice) -> bool:
    text = line.lstrip()
    if not text:
        return False
    if text.startswith("#"):
        return _indent(line) > indent
    inside = _indent(line) > indent or text.startswith("- ")
    return inside and choice.value is not SECTION


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _written(line: str, choice: Choice) -> list[str]:
    """Key, value and reason; a reason that is too long goes on below itself."""
    head = line[: line.index(":") + 1]
    if choice.value is not SECTION and choice.value is not None:
        head += f" {_scalar(choice.value)}"
    room = _WIDTH - len(head) - len(" # ")
    first, *rest = textwrap.wrap(choice.reason, room, break_long_words=False) or [""]
    margin = " " * (len(head) + 1)
    return [f"{head} # {first}", *(f"{margin}# {text}" for text in rest)]


def _scalar(value: object) -> str:
    """A value as DVC writes it: text in quotes where it would be read as something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    return value if YAML(typ="safe", pure=True).load(value) == value else f"'{value}'"
