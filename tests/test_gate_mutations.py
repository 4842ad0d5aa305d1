"""Would the gate's tests notice a gate that lets too much pass? Each rule is broken in turn."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GATE, TESTS = Path("components/core/gate"), Path("tests/components/core/gate")

MUTATED = ("bounds", "champion_checks", "checks", "decide", "evidence_validation", "gate_input")

# Each of their entries is dropped in turn: a check, or a digest that binds the evidence.
LISTS = ("CHECKS", "_BINDING")

REQUIREMENT = re.compile("_require|_validate")

# Each comparison is moved by one value and turned around.
FLIPS = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}

# These change nothing that can be seen: how many digits a near miss is shown with at most, and
# sums that agree to the last allowed bit.
SAME = {"digits < 9", "<= _SUM_ROUNDING"}


def offset(lines: list[str], line: int | None, column: int | None) -> int:
    assert line is not None
    assert column is not None
    return sum(len(text) for text in lines[: line - 1]) + column


def span(lines: list[str], node: ast.expr | ast.stmt) -> tuple[int, int]:
    return (
        offset(lines, node.lineno, node.col_offset),
        offset(lines, node.end_lineno, node.end_col_offset),
    )


def edits(source: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, replacement): flipped comparisons, dropped entries, dropped requirements."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            yield from flips(source, lines, node)
        elif isinstance(node, ast.Tuple) and is_list(source, node):
            for entry in node.elts:
                start, end = span(lines, entry)
                yield start, end + 1, ""
        elif isinstance(node, ast.Expr) and REQUIREMENT.match(ast.unparse(node.value)):
            yield *span(lines, node), "pass"


def flips(source: str, lines: list[str], node: ast.Compare) -> Iterator[tuple[int, int, str]]:
    places = [node.left, *node.comparators]
    for left, operator, right in zip(places, node.ops, places[1:], strict=False):
        sign, others = FLIPS[type(operator)]
        start = source.index(sign, span(lines, left)[1], span(lines, right)[0])
        for other in others:
            yield start, start + len(sign), other


def is_list(source: str, node: ast.Tuple) -> bool:
    """Whether the tuple is the value of one of LISTS, which take a line for each entry."""
    begins = source.splitlines()[node.lineno - 1].startswith(LISTS)
    return begins and node.end_lineno != node.lineno


def mutants() -> Iterator[tuple[str, str, str]]:
    """(module, what was changed, mutated source)."""
    for module in MUTATED:
        source = (ROOT / GATE / f"{module}.py").read_text()
        for start, end, other in edits(source):
            line = source.count("\n", 0, start) + 1
            text = source.splitlines()[line - 1].strip()
            if not any(same in text for same in SAME):
                yield (
                    module,
                    f"{line}: {text} -> {other or 'nothing'}",
                    (source[:start] + other + source[end:]),
                )


def run_tests(folder: Path, module: str, source: str) -> int:
    """Exit code of the gate's tests with this source in place of the module's."""
    shutil.copytree(
        ROOT / "components/core",
        folder / "components/core",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(ROOT / "components/__init__.py", folder / "components")
    (folder / TESTS).mkdir(parents=True)
    shutil.copy(ROOT / "tests/factories.py", folder / "tests")
    for name in ("conftest", "test_seen_images", *(f"test_{module}" for module in MUTATED)):
        shutil.copy(ROOT / TESTS / f"{name}.py", folder / TESTS)
    (folder / GATE / f"{module}.py").write_text(source)
    (folder / "pytest.ini").write_text(
        "[pytest]\npythonpath = .\naddopts = --import-mode=importlib"
    )
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    # What is measured in seconds may fail on a busy machine, and would kill a mutant by luck.
    command += ["-k", "not takes_seconds", "--hypothesis-seed=0", "tests"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    shutil.rmtree(folder)
    return done.returncode


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_gate_with_any_rule_removed_or_turned_around_fails_its_tests(tmp_path: Path) -> None:
    all_mutants = list(mutants())
    assert len(all_mutants) > 100
    whole = (ROOT / GATE / "decide.py").read_text()
    assert run_tests(tmp_path / "whole", "decide", whole) == 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = pool.map(
            lambda item: run_tests(tmp_path / str(item[0]), item[1][0], item[1][2]),
            enumerate(all_mutants),
        )
        survivors = [
            f"{module}.py:{change}"
            for (module, change, _), code in zip(all_mutants, codes, strict=True)
            if code != 1
        ]
    print(f"{len(all_mutants) - len(survivors)} of {len(all_mutants)} mutants found")
    assert not survivors, "\n".join(survivors)
