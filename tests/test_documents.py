"""README and docs: what they name exists, and what they tell people to type works."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from pydantic import BaseModel

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


def fault_of(block: Block) -> str:
    """What a block of commands lacks; empty = nothing."""
    if block.language in ("sh", "python"):
        marked = re.fullmatch(r"<!-- (not run|run by): \S.* -->", block.above)
        return "" if marked else f"{block.place}: say above it who runs it, or why nobody does"
    commands = [line for line in block.lines if COMMANDS.match(line)]
    unnamed = commands and not block.language
    return f"{block.place}: a block of commands is ```sh" if unnamed else ""


def test_every_block_of_commands_is_run_or_says_why_not() -> None:
    assert len(BLOCKS) > 10
    assert [fault for block in BLOCKS if (fault := fault_of(block))] == []


@pytest.mark.parametrize(
    ("language", "above", "line", "sound"),
    [
        ("sh", "<!-- run by: tests/test_end_to_end.py -->", "dvc repro", True),
        ("sh", "<!-- not run: it serves until it is stopped -->", "mlflow server", True),
        ("sh", "Type:", "dvc repro", False),
        ("python", "", "import mlflow", False),
        ("", "", "dvc repro", False),
        ("text", "", "dvc repro", True),
        ("", "", "register  passed", True),
    ],
)
def test_a_block_without_a_word_about_who_runs_it_is_noticed(
    language: str, above: str, line: str, sound: bool
) -> None:
    assert (fault_of(Block(ROOT / "README.md", language, above, [line])) == "") is sound


def test_the_test_that_runs_a_block_exists() -> None:
    said = [
        (block.place, match[1])
        for block in BLOCKS
        if (match := re.fullmatch(r"<!-- run by: (\S+)(.*) -->", block.above))
    ]
    assert said
    assert [place for place, name in said if not (ROOT / name).exists()] == []


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


def test_every_command_of_the_pages_exists_with_its_options() -> None:
    group: Any = typer.main.get_command(app)
    faults = []
    # CHANGELOG.md names the commands of old versions, too.
    commands = [words for words in mentioned() if words[0] != "CHANGELOG.md"]
    assert len(commands) > 20
    for page, (name, *words) in commands:
        verb = group.commands.get(name)
        if verb is None:
            faults.append(f"{page}: there is no `python -m pipeline {name}`")
            continue
        known = {option for parameter in verb.params for option in parameter.opts} | {"--help"}
        used = {word.partition("=")[0].rstrip(".,)") for word in words if word.startswith("--")}
        if name != "step" and used - known:
            faults.append(f"{page}: {name} has no {sorted(used - known)}")
    assert faults == []


def test_links_lead_to_files() -> None:
    missing = []
    for page in PAGES:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            local = "://" not in target and not target.startswith(("#", "["))
            if local and not (page.parent / target.partition("#")[0]).exists():
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert missing == []


def test_modules_and_files_that_the_pages_name_exist() -> None:
    pattern = r"`((?:components|pipeline|tests|infra|bench|docs)/[a-z\d_./-]+)`"
    # These tell what was.
    current = [p for p in PAGES if p.name != "CHANGELOG.md" and "decisions" not in p.parts]
    assert [
        f"{page.relative_to(ROOT)}: {name}"
        for page in current
        for name in re.findall(pattern, page.read_text())
        if not (ROOT / name).exists()
    ] == []


@pytest.mark.parametrize("name", ["params.md", "decision.md"])
def test_the_reference_is_what_the_classes_say(name: str) -> None:
    page = ROOT / "docs/reference" / name
    assert page.read_text() == generate.pages()[name], "run `make reference`"


def test_every_setting_and_every_field_of_a_decision_is_described() -> None:
    kinds: list[type[BaseModel]] = [*SECTIONS.values(), DecisionRecord]
    bare = [
        f"{inner.__name__}.{name}"
        for kind in kinds
        for inner in generate.models_in(kind)
        for name, field in inner.model_fields.items()
        if not field.description and name != "schema_version"
    ]
    assert bare == []
