"""README and docs: what they name exists, and what they tell people to type works."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from components.core.gate.record import DecisionRecord
from docs.reference import generate
from pipeline.cli import app
from pipeline.cli.settings import SECTIONS

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "infra/README.md")
    if path.is_file()
)
COMMANDS = re.compile(r"(make|python|dvc|git|kubectl|docker|sh|pip|mlflow|curl|cp|rm|\.) ")
TESTED = {"python": "tests/test_end_to_end.py runs it"}


class Block(NamedTuple):
    """A fenced block: its language, the line before it, its lines."""

    page: Path
    language: str
    above: str
    lines: list[str]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.lines[0] if self.lines else 'empty block'}"


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    above, inside = "", False
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            if not inside:
                found.append(Block(page, line.strip().removeprefix("```"), above, []))
            inside = not inside
        elif inside:
            found[-1].lines.append(line.strip())
        elif line.strip():
            above = line.strip()
        if line.lstrip().startswith("```") and not inside:
            above = ""
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_block_of_commands_is_run_or_says_why_not(block: Block) -> None:
    if block.language in ("sh", "python"):
        marked = re.fullmatch(r"<!-- (not run|run by): \S.* -->", block.above)
        assert marked, f"{block.place}: say above it who runs it, or why nobody does"
    else:
        commands = [line for line in block.lines if COMMANDS.match(line)]
        assert block.language or not commands, f"{block.place}: a block of commands is ```sh"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_the_test_that_is_said_to_run_a_block_exists(block: Block) -> None:
    if match := re.fullmatch(r"<!-- run by: (\S+)(.*) -->", block.above):
        assert (ROOT / match[1]).exists(), f"{block.place}: {match[1]} does not exist"


def _on_one_line(code: re.Match[str]) -> str:
    return code[0].replace("\n", " ")


def mentioned() -> list[tuple[str, list[str]]]:
    """Every `python -m pipeline VERB ...` of the pages, as words."""
    found = []
    for page in PAGES:
        # Code inside a sentence may be broken over two lines.
        parts = page.read_text().split("```")
        parts[::2] = [re.sub(r"`[^`]+`", _on_one_line, part) for part in parts[::2]]
        text = "\n".join(parts)
        for match in re.finditer(r"python -m pipeline ([a-z][\w-]*)([^`|;\n]*)", text):
            words = match[2].split("#")[0].split()
            found.append((str(page.relative_to(ROOT)), [match[1], *words]))
    return found


@pytest.mark.parametrize(("page", "words"), mentioned(), ids=lambda value: str(value)[:60])
def test_every_command_of_the_pages_exists_with_its_options(page: str, words: list[str]) -> None:
    if page == "CHANGELOG.md":
        pytest.skip("names the commands of old versions, too")
    group: Any = typer.main.get_command(app)
    verb = group.commands.get(words[0])
    assert verb is not None, f"{page}: there is no `python -m pipeline {words[0]}`"
    known = {option for parameter in verb.params for option in parameter.opts} | {"--help"}
    used = {word.partition("=")[0].rstrip(".,)") for word in words[1:] if word.startswith("--")}
    if words[0] != "step":
        assert used <= known, f"{page}: {words[0]} has no {sorted(used - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith(("#", "[")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_files_that_the_pages_name_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md" or "decisions" in page.parts:
        pytest.skip("tells what was")
    pattern = r"`((?:components|pipeline|tests|infra|bench|docs)/[a-z\d_./-]+)`"
    for name in re.findall(pattern, page.read_text()):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("name", ["params.md", "decision.md"])
def test_the_reference_is_what_the_classes_say(name: str) -> None:
    page = ROOT / "docs/reference" / name
    assert page.read_text() == generate.pages()[name], "run `make reference`"


def test_every_setting_and_every_field_of_a_decision_is_described() -> None:
    kinds = [*SECTIONS.values(), DecisionRecord]
    bare = [
        f"{inner.__name__}.{name}"
        for kind in kinds
        for inner in generate.models_in(kind)
        for name, field in inner.model_fields.items()
        if not field.description and name != "schema_version"
    ]
    assert bare == []
