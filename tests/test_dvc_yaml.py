"""dvc.yaml: what each stage depends on, and what makes it stale."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from components import STEPS
from tests.components.conftest import ROOT

# What a stage may import without depending on it: its result is the same whatever it does.
NO_INFLUENCE = {
    "components.core.errors": "only words: the messages and exit codes of refusals",
    "components.core.evaluation.diagnosis": "only words: what is wrong with a training",
    "components.core.phrases": "only words; validate stores its messages, and declares it",
    "components.io.params": "only reads: DVC itself compares the settings' values",
    "components.io.progress": "only prints: lines while something runs",
    "components.io.reports": "only draws: figures and pages",
    "components.tracking": "only logs to MLflow",
    "components.registry": "only logs to MLflow",
}

# One touched file for each folder -> the stages that must run again. register always runs; it is
# named where its dependencies changed.
STALE = {
    "components/core/artifacts.py": STEPS,
    "components/core/data/decoding.py": STEPS,
    "components/core/training/loop.py": ("tune", "train", "evaluate", "register"),
    "components/core/evaluation/metrics.py": ("evaluate", "register"),
    "components/core/gate/decide.py": ("register",),
    "components/io/data/scan.py": STEPS,
    "components/io/files.py": STEPS,
    "components/io/models.py": ("tune", "train", "evaluate", "register"),
    "components/io/process.py": ("tune", "train", "evaluate", "register"),
    "components/io/checkpoints.py": ("train", "register"),
    "components/io/progress.py": ("register",),
    "components/io/reports/pages.py": ("validate", "evaluate", "register"),
    "components/io/reports/plots/canvas.py": ("validate", "evaluate", "register"),
    "components/io/reports/templates/base.html": ("validate", "register"),
    "components/io/reports/run/page.py": ("validate", "register"),
    "components/tracking/runs.py": ("register",),
    "components/registry/promotion.py": ("register",),
    **{f"components/{step}/__init__.py": (step,) for step in STEPS},
    "pipeline/cli/project.py": (),
    "pipeline/kubeflow/task.py": (),
    "pipeline/doctor/local.py": (),
    "components/core/errors.py": ("register",),
    "components/core/phrases.py": ("validate", "register"),
}

Stages = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def stages() -> Stages:
    found: Stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return found


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("components", cache_dir=None, exclude_type_checking_imports=True)


def paths(entries: list[str | dict[str, Any]]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def written(stage: dict[str, Any]) -> list[str]:
    return paths([*stage["outs"], *stage.get("metrics", [])])


def code(stage: dict[str, Any]) -> list[str]:
    return [path for path in paths(stage["deps"]) if path.startswith("components/")]


def module_file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_covered(file: Path, declared: list[str]) -> bool:
    return any(file.is_relative_to(ROOT / entry) for entry in declared)


def belongs_to(module: str, packages: dict[str, str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def uncovered(step: str, declared: list[str], imports: grimp.ImportGraph) -> list[str]:
    """Modules that the step reaches, neither declared nor without influence."""
    own = f"components.{step}"
    waiting, seen = {own, *imports.find_descendants(own)}, set[str]()
    missing = []
    while waiting:
        module = waiting.pop()
        seen.add(module)
        if not is_covered(module_file(module), declared):
            if belongs_to(module, NO_INFLUENCE):
                continue  # nor does what it imports
            if module_file(module).name != "__init__.py":
                missing.append(module)
        waiting |= imports.find_modules_directly_imported_by(module) - seen
    return sorted(missing)


def test_dvc_has_exactly_the_five_steps_in_order_each_by_one_command(stages: Stages) -> None:
    assert tuple(stages) == STEPS
    for step, stage in stages.items():
        assert stage["cmd"] == f"python -m pipeline step {step}"


@pytest.mark.parametrize("step", STEPS)
def test_each_stage_depends_on_exactly_the_sections_that_its_step_reads(
    step: str, stages: Stages
) -> None:
    params = importlib.import_module(f"components.{step}").Params
    assert stages[step]["params"] == [f.name for f in dataclasses.fields(params)]


@pytest.mark.parametrize("step", STEPS)
def test_each_stage_declares_the_paths_that_its_step_uses(step: str, stages: Stages) -> None:
    kind = importlib.import_module(f"components.{step}").Paths
    used = {str(field.default) for field in dataclasses.fields(kind)}
    stage = stages[step]
    data = {path for path in paths(stage["deps"]) if not path.startswith("components/")}
    assert data | set(written(stage)) <= used
    # What a run may find from an earlier one is not declared: DVC would delete it.
    kept = {"cache", "artifacts/tune/study.journal", "artifacts/train/checkpoint.bin"}
    kept.add("artifacts")  # evaluate and register both write the report in it
    assert used - data - set(written(stage)) <= kept


def test_stages_read_from_each_other_what_earlier_ones_write(stages: Stages) -> None:
    before: set[str] = set()
    for stage in stages.values():
        assert {path for path in paths(stage["deps"]) if path.startswith("artifacts/")} <= before
        before |= set(written(stage))


@pytest.mark.parametrize("step", STEPS)
def test_each_stage_declares_the_code_that_its_result_depends_on(
    step: str, stages: Stages, imports: grimp.ImportGraph
) -> None:
    declared = code(stages[step])
    assert [entry for entry in declared if not (ROOT / entry).exists()] == []
    assert f"components/{step}" in declared
    assert uncovered(step, declared, imports) == []


def test_a_module_that_is_not_declared_is_noticed(
    stages: Stages, imports: grimp.ImportGraph
) -> None:
    declared = [entry for entry in code(stages["train"]) if entry != "components/io/checkpoints.py"]
    assert uncovered("train", declared, imports) == ["components.io.checkpoints"]


@pytest.mark.parametrize("step", ["tune", "train"])
def test_results_that_are_found_again_are_named_after_the_code_that_dvc_compares(
    step: str, stages: Stages
) -> None:
    names = importlib.import_module(f"components.{step}").CODE
    assert [f"components/{name}" for name in names] == code(stages[step])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, stages: Stages) -> Path:
    """A project without git in which every stage is up to date, with outputs of a few bytes."""
    from dvc.repo import Repo

    root = tmp_path_factory.mktemp("recorded")
    for name in ("components", "pipeline"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, root)
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    outside = {path for stage in stages.values() for path in paths(stage["deps"])}
    outputs = {path for stage in stages.values() for path in written(stage)}
    for path in outputs | {path for path in outside if path.startswith("data/")}:
        file = root / path if Path(path).suffix else root / path / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    with contextlib.chdir(root), Repo() as repo:
        repo.commit(None, force=True)
    assert stale(root) == {}
    return root


def stale(root: Path) -> dict[str, set[str]]:
    """Stage -> what of it changed."""
    from dvc.repo import Repo

    with contextlib.chdir(root), Repo() as repo:
        found = {
            stage: {name for part in parts if isinstance(part, dict) for name in part}
            for stage, parts in repo.status().items()
        }
    return {stage: what for stage, what in found.items() if what}


@pytest.fixture
def touched(recorded: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    file = recorded / request.param
    before = file.read_text()
    file.write_text(before + "\n# touched\n")
    yield request.param
    file.write_text(before)


@pytest.mark.parametrize("touched", STALE, indirect=True)
def test_a_changed_file_makes_exactly_the_stages_stale_that_depend_on_it(
    touched: str, recorded: Path
) -> None:
    assert stale(recorded) == {step: {"changed deps"} for step in STALE[touched]}


def test_a_changed_setting_makes_the_stages_stale_that_read_its_section(
    recorded: Path, stages: Stages
) -> None:
    file = recorded / "params.yaml"
    before = file.read_text()
    for section in yaml.safe_load(before):
        raw = yaml.safe_load(before)
        raw[section]["planted"] = 1
        file.write_text(yaml.safe_dump(raw))
        assert list(stale(recorded)) == [s for s in STEPS if section in stages[s]["params"]]
    file.write_text(before)
