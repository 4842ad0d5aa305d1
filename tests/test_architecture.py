"""The shape of the project, stated as tests: layers, entries of libraries, house limits."""

import ast
import graphlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
import yaml

from components import STEPS
from pipeline.cli.settings import SECTIONS

ROOT = Path(__file__).parent.parent
PACKAGES = ("components", "pipeline", "bench")

# Contract of pyproject.toml -> imports that break it: file, imported module.
PLANTED = {
    "pipeline -> steps -> registry -> tracking -> io -> core, and steps never import each other": (
        ("components/evaluate/__init__.py", "components.train"),
        ("components/core/errors.py", "components.io.files"),
        ("components/tracking/store.py", "components.registry.lock"),
        ("components/validate/rules.py", "pipeline.deadline"),
    ),
    "inside core: gate -> evaluation -> training -> artifacts and data": (
        ("components/core/data/splits.py", "components.core.gate.policy"),
    ),
    "figures and pages are no part of what reads data": (
        ("components/io/data/scan.py", "components.io.reports.pages"),
    ),
    "matplotlib has one entry": (("components/validate/rules.py", "matplotlib"),),
    "mlflow has two entries: tracking and registry": (("components/train/__init__.py", "mlflow"),),
    "great_expectations has one entry": (("components/tune/__init__.py", "great_expectations"),),
    "optuna has one entry": (("components/evaluate/__init__.py", "optuna"),),
    "kfp has one entry": (("pipeline/doctor/cluster.py", "kfp"),),
    "typer has one entry": (("pipeline/doctor/local.py", "typer"),),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says about a copy of the project with every planted import."""
    root = tmp_path_factory.mktemp("planted")
    for name in ("components", "pipeline"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for file, module in (planted for entries in PLANTED.values() for planted in entries):
        with (root / file).open("a") as source:
            source.write(f"\nimport {module}\n")
    done = lint(root)
    assert done.returncode == 1
    return done.stdout


def lint(root: Path) -> "subprocess.CompletedProcess[str]":
    program = str(Path(sys.executable).parent / "lint-imports")
    return subprocess.run(
        [program, "--no-cache"],
        cwd=root,
        env={"COLUMNS": "1000", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )


def contracts() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]


def test_the_project_keeps_every_contract_about_imports() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_every_contract_has_a_planted_import() -> None:
    assert set(PLANTED) == set(contracts())


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_import_breaks_its_contract(contract: str, broken: str) -> None:
    assert f"{contract} BROKEN" in broken
    for file, module in PLANTED[contract]:
        importer = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert f"{importer} -> {module}" in broken


def cycle(imports: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(
        "components", "pipeline", cache_dir=None, exclude_type_checking_imports=True
    )
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert cycle(imports) == []
    imports["components.core.errors"] = {"components.io.files"}
    assert set(cycle(imports)) >= {"components.core.errors", "components.io.files"}


def test_params_sections_are_the_steps_three_shared_ones_and_the_cluster() -> None:
    assert set(SECTIONS) == {*STEPS, "data", "model", "training", "cluster"}
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())) == set(SECTIONS)


def test_params_classes_hold_no_default_values() -> None:
    for name, kind in SECTIONS.items():
        for field, info in kind.model_fields.items():
            assert info.is_required(), f"{name}.{field}: params.yaml is the only source of values"


def test_a_step_imports_no_heavy_library_before_it_runs() -> None:
    heavy = ("torch", "pandas", "mlflow", "great_expectations", "optuna", "sklearn", "matplotlib")
    code = (
        f"import importlib, sys\nfor step in {STEPS}:\n"
        "    importlib.import_module(f'components.{step}')\n"
        f"    print(step, [name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines() == [f"{step} []" for step in STEPS]


def faults(path: Path) -> list[str]:
    """What of a source file is longer than the house allows, or not ASCII."""
    text = path.read_text()
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    found = [] if text.isascii() else [f"{place}: is not ASCII"]
    if (lines := len(text.splitlines())) > 300:
        found.append(f"{place}: {lines} lines; at most 300")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if len(node.body) > 1 and ast.get_docstring(node) else node.body[0]
            assert node.end_lineno is not None
            if (lines := node.end_lineno - first.lineno + 1) > 40:
                found.append(f"{place}: {node.name} has {lines} lines; at most 40")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_functions_stay_small_and_ascii(package: str) -> None:
    sources = sorted((ROOT / package).rglob("*.py"))
    assert sources
    assert [fault for path in sources for fault in faults(path)] == []


def test_a_long_function_a_long_file_and_a_foreign_letter_are_noticed(tmp_path: Path) -> None:
    body = "\n".join(["    pass"] * 41)
    text = f'def long() -> None:\n    """Doc."""\n{body}\n# \u00e9\n' + "\n" * 300
    planted = tmp_path / "planted.py"
    planted.write_text(text)
    assert [fault.rpartition(": ")[2] for fault in faults(planted)] == [
        "is not ASCII",
        "344 lines; at most 300",
        "long has 41 lines; at most 40",
    ]


def test_tests_are_ascii() -> None:
    tests = (ROOT / "tests").rglob("*.py")
    assert [str(path) for path in tests if not path.read_text().isascii()] == []


def test_the_lock_names_no_index_and_pins_every_package_with_hashes() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or "index" in line]
    packages = [i for i, line in enumerate(lines) if line and line[0].isalnum()]
    assert len(packages) > 100
    for i in packages:
        assert "==" in lines[i]
        assert lines[i + 1].strip().startswith("--hash=sha256:")
