"""The shape of the project, stated as tests: layers, declared dependencies, house limits."""

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
import yaml

from pipeline.__main__ import SECTIONS

ROOT = Path(__file__).parent.parent
STEPS = ("validate", "tune", "train", "evaluate", "register")
PACKAGES = ("components", "pipeline", "bench")
SOURCES = sorted(path for top in PACKAGES for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.fixture(scope="module")
def stages() -> dict[str, dict[str, object]]:
    pipeline: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(
        (ROOT / "dvc.yaml").read_text()
    )
    return pipeline["stages"]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("components", "pipeline", cache_dir=None)


def module_file(module: str) -> str:
    path = Path(*module.split("."))
    package = path / "__init__.py"
    return str(package if (ROOT / package).exists() else path.with_suffix(".py"))


def with_packages(modules: set[str]) -> set[str]:
    """Importing a.b.c runs a, a.b and a.b.c."""
    parts = [m.split(".") for m in modules]
    return {".".join(p[:end]) for p in parts for end in range(1, len(p) + 1)}


def source_deps(step: str, imports: grimp.ImportGraph) -> set[str]:
    start = {f"components.{step}"} | imports.find_descendants(f"components.{step}")
    reached = set(start)
    for module in start:
        reached |= imports.find_upstream_modules(module)
    files = {module_file(m) for m in with_packages(reached)}
    if "components.registry.package" in reached:  # ships files by their path
        shipped = (ROOT / "components/io/tracking").glob("*.py")
        files |= {str(path.relative_to(ROOT)) for path in shipped}
    if "components.io.reports.pages" in reached:
        templates = (ROOT / "components/io/templates").glob("*.html")
        files |= {str(path.relative_to(ROOT)) for path in templates}
    return files


def test_dvc_has_exactly_the_five_steps_in_order(stages: dict[str, dict[str, object]]) -> None:
    assert tuple(stages) == STEPS


@pytest.mark.parametrize("step", STEPS)
def test_each_stage_declares_every_module_that_its_step_imports(
    step: str, stages: dict[str, dict[str, object]], imports: grimp.ImportGraph
) -> None:
    deps = stages[step]["deps"]
    assert isinstance(deps, list)
    declared = {d for d in deps if d.endswith((".py", ".html"))}
    assert declared == source_deps(step, imports)


@pytest.mark.parametrize("step", STEPS)
def test_each_stage_depends_on_exactly_the_sections_that_its_step_reads(
    step: str, stages: dict[str, dict[str, object]]
) -> None:
    params = importlib.import_module(f"components.{step}").Params
    assert stages[step]["params"] == [f.name for f in dataclasses.fields(params)]


@pytest.mark.parametrize("step", STEPS)
def test_each_path_of_a_step_is_on_its_command_line(
    step: str, stages: dict[str, dict[str, object]]
) -> None:
    run = importlib.import_module(f"components.{step}").run
    words = str(stages[step]["cmd"]).split()
    options = {w.removeprefix("--").replace("-", "_") for w in words if w.startswith("--")}
    assert options == set(inspect.signature(run).parameters) - {"params"}


def test_params_sections_are_the_steps_three_shared_ones_and_the_cluster() -> None:
    assert set(SECTIONS) == {*STEPS, "data", "model", "training", "cluster"}
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())) == set(SECTIONS)


def test_params_classes_hold_no_default_values() -> None:
    for name, kind in SECTIONS.items():
        for field, info in kind.model_fields.items():
            assert info.is_required(), f"{name}.{field}: params.yaml is the only source of values"


def test_layers_hold_and_a_planted_import_between_steps_is_caught(tmp_path: Path) -> None:
    def lint(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    for name in ("components", "pipeline"):
        for source in (ROOT / name).rglob("*.py"):
            copy = tmp_path / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(source.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    assert lint(tmp_path).returncode == 0, lint(tmp_path).stdout
    step = tmp_path / "components" / "evaluate" / "__init__.py"
    step.write_text(step.read_text() + "\nimport components.train\nimport kfp\nimport optuna\n")
    found = lint(tmp_path)
    assert found.returncode == 1
    assert "components.evaluate -> components.train" in found.stdout
    assert "components.evaluate -> optuna" in found.stdout
    assert "components.evaluate -> kfp" in found.stdout


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
