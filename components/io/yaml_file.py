"""YAML files that people write, read as DVC reads them: the same library, the same numbers.

What YAML allows beyond plain values is refused, each in one line with its place: a file of settings
means what it says, with nothing hidden behind a reference, a tag or a key written twice.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.reader import ReaderError

from components.core.errors import InvalidParams, MissingInput

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 32  # our settings are four deep; thousands of brackets would exhaust the stack
_TOO_DEEP = f"lies more than {_MAX_DEPTH} levels deep; look for a bracket that is not closed"


class _Trap(Exception):
    """What YAML allows and we do not. `where` is the node or the event."""

    def __init__(self, where: Any, problem: str) -> None:
        super().__init__(problem)
        self.line: int = where.start_mark.line + 1


class _Composer(Composer):
    """Neither references nor tags."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False  # an anchor without references changes nothing

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            raise _Trap(event, f"*{_cut(event.anchor)} is a reference; write the value out")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise _Trap(event, f"{_cut(tag)} is a tag; write the plain value, text in quotes")
        if self.depth >= _MAX_DEPTH:
            raise _Trap(event, _TOO_DEEP)
        return super().compose_node(parent, index)


class _Constructor(SafeConstructor):
    """Every key is text and stands once; what looks like a number or a date is one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _Trap(key_node, f"the key {_cut(repr(key))} is not text; put it in quotes")
            if key in seen:
                raise _Trap(key_node, f"{_cut(key)} is written twice; keep one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, OverflowError) as error:  # 2020-13-45, or 5,000 digits
            problem = f"{_cut(str(node.value))} is no number and no date that exists"
            raise _Trap(node, f"{problem}; put it in quotes if it is text") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of settings: one mapping of sections in plain YAML 1.2, UTF-8, to 1 MiB.

    Raises:
        MissingInput: there is no such file.
        InvalidParams: it is anything else; the message names the line.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: does not exist; run from the project's root folder.")
    if path.stat().st_size > _MAX_BYTES:
        raise InvalidParams(f"{path}: is larger than 1 MiB; that is not a params file.")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.Constructor = _Composer, _Constructor
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"))
    except _Trap as trap:
        raise InvalidParams(f"{path.name}: line {trap.line}: {trap}.") from trap
    except (YAMLError, UnicodeDecodeError) as error:
        line, found = _explain(error, path)
        problem = f"line {line}: is not valid YAML ({found}); fix that line"
        raise InvalidParams(f"{path.name}: {problem}.") from error
    if not isinstance(raw, dict):
        raise InvalidParams(f"{path}: holds no sections; start from the params.yaml in git.")
    return raw


def _explain(error: YAMLError | UnicodeDecodeError, path: Path) -> tuple[int, str]:
    """The line that an error is about, and what is wrong there."""
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        found = ", ".join(text for text in (error.context, error.problem) if text)
        return mark.line + 1, " ".join(found.split())
    if isinstance(error, UnicodeDecodeError):
        return error.object.count(b"\n", 0, error.start) + 1, "bytes that are not UTF-8"
    assert isinstance(error, ReaderError)
    before = path.read_text(encoding="utf-8")[: error.position]
    return before.count("\n") + 1, f"the control character {error.character:#04x}"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
