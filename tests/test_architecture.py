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
SOURCES = sorted(path for top in PACKAGES for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

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


@pytest.mark.parametrize("step", STEPS)
def test_a_step_imports_no_heavy_library_before_it_runs(step: str) -> None:
    heavy = ("torch", "pandas", "mlflow", "great_expectations", "optuna", "sklearn", "matplotlib")
    code = f"import sys, components.{step}; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small_and_ascii(path: Path) -> None:
    text = path.read_text()
    assert text.isascii()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if len(node.body) > 1 and ast.get_docstring(node) else node.body[0]
            assert node.end_lineno is not None
            assert node.end_lineno - first.lineno + 1 <= 40, node.name


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_tests_are_ascii(path: Path) -> None:
    assert path.read_text().isascii()


def test_the_lock_names_no_index_and_pins_every_package_with_hashes() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or "index" in line]
    packages = [i for i, line in enumerate(lines) if line and line[0].isalnum()]
    assert len(packages) > 100
    for i in packages:
        assert "==" in lines[i]
        assert lines[i + 1].strip().startswith("--hash=sha256:")
