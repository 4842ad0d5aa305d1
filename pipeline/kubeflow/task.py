"""What a task on the cluster does: one step, in the folder of its run. Imports no kfp."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from components import register, tune
from components.core.artifacts import ValidationReport
from components.core.errors import ChangedInput, PipelineError
from components.core.gate.record import DecisionRecord
from components.core.phrases import short_digest
from components.io import files, params
from components.io.data.dataset import DataPaths
from components.tracking import server
from pipeline import costs, step_lock
from pipeline.exit_codes import exit_code_of
from pipeline.kubeflow import branch, fetch, sections, workspace
from pipeline.kubeflow.branch import Tip

P = TypeVar("P")
T = TypeVar("T")

_ARTIFACTS = Path("artifacts")
_PIXELS = Path("cache")

# Kubernetes keeps 4096 bytes of it.
_TERMINATION_LOG = Path("/dev/termination-log")
_TERMINATION_CHARACTERS = 1000


@dataclass(frozen=True)
class Layout:
    """Where things are.

    Attributes:
        project: folder with data/; the current folder of the step, as under DVC.
        outputs: folder that stands for `artifacts`.
        run: folder of the run, see `workspace`.
        shared: what all runs share; None = this run has a volume of its own.
    """

    project: Path
    outputs: Path
    run: Path
    shared: Path | None = None

    def place(self, kind: type[P]) -> P:
        """The paths of a step: artifacts among the outputs, decoded pixels where runs share them.

        Args:
            kind: the class `Paths` of the step.
        """
        moved = {}
        for field in fields(kind):  # type: ignore[arg-type]
            if not isinstance(field.default, Path):
                continue
            if field.default.is_relative_to(_ARTIFACTS):
                moved[field.name] = self.outputs / field.default.relative_to(_ARTIFACTS)
            elif field.default == _PIXELS and self.shared:
                moved[field.name] = self.shared / "pixels"
        return kind(**moved)


def read_layout(workspace: str, raw: Mapping[str, str]) -> Layout:
    """The layout from what a component is given.

    Args:
        workspace: folder of the run.
        raw: checkout, relative to the workspace; outputs, relative to the checkout; shared,
            relative to the workspace, empty where runs share nothing.
    """
    run, shared = Path(workspace), raw["shared"]
    project = run / raw["checkout"]
    return Layout(
        project,
        project / raw["outputs"],
        run,
        Path(os.path.normpath(run / shared)) if shared else None,
    )


def run_fetch(
    layout: Layout, repository: str, revision: str, data_hash: str, keep_days: int
) -> None:
    """Bring revision and images; delete folders of old runs from a volume that runs share.

    Args:
        layout: where to.
        repository: as `fetch.fetch`.
        revision: as `fetch.fetch`.
        data_hash: as `fetch.fetch`.
        keep_days: how long the folder of an idle run stays.
    """

    def act() -> None:
        cache = _prepare(layout, keep_days)
        fetch.fetch(layout.project, repository, revision, data_hash, cache)

    run_task("fetch", act)


def run_fetch_branch(layout: Layout, repository: str, name: str, keep_days: int) -> tuple[str, Tip]:
    """Bring the tip of a branch, unless the same was run before.

    Args:
        layout: where to.
        repository: as `fetch.fetch`.
        name: of the branch.
        keep_days: how long the folder of an idle run stays.

    Returns:
        `yes` if there is something to run, else `no`; the tip of the branch.
    """

    def act() -> tuple[str, Tip]:
        cache = _prepare(layout, keep_days)
        tip = branch.read(layout.project, repository, name)
        if branch.is_known(_model_name(tip.sections), tip):
            print(f"{tip}: unchanged since its last verdict; nothing to do", flush=True)
            return "no", tip
        print(f"{tip}: has no verdict yet", flush=True)
        fetch.fetch(layout.project, repository, tip.revision, tip.data_hash, cache)
        return "yes", tip

    return run_task("fetch_branch", act)


def run_note_branch(tip: Tip) -> None:
    """Note that the tip of a branch has its verdict, so that it is not run again.

    Args:
        tip: with the section `register`.
    """
    run_task("note_branch", lambda: branch.note(_model_name(tip.sections), tip))


def _model_name(given: Mapping[str, str]) -> str:
    settings = {name: given[name] for name in params.sections(register.Params)}
    return sections.load(settings, register.Params).register.model_name


def _prepare(layout: Layout, keep_days: int) -> Path | None:
    """Make the folder of the run, delete idle ones; return DVC's cache if runs share it."""
    workspace.make_folder(layout.project)
    if not layout.shared:
        return None
    workspace.note_start(layout.run)
    for line in workspace.prune(layout.run, keep_days):
        print(line, flush=True)
    return layout.shared / "dvc"


def run_step(step: str, layout: Layout, given: Mapping[str, str], data_digest: str = "") -> Path:
    """Run one step of the project; a step that fails ends the process with its exit code.

    Args:
        step: name of its module below `components`.
        layout: where it reads and writes.
        given: sections of params.yaml that it reads, each as JSON.
        data_digest: from validate; empty for validate itself.

    Returns:
        The folder of what the step wrote.
    """
    module = importlib.import_module(f"components.{step}")

    def act() -> None:
        _setup(layout, data_digest)
        paths = layout.place(module.Paths)
        with step_lock.held(step, paths), costs.measured(step, paths):
            module.run(paths, sections.load(given, module.Params))

    run_task(step, act)
    return layout.outputs / step


def run_worker(layout: Layout, given: Mapping[str, str], worker: int) -> None:
    """Run trials for tune as worker `worker`; a failure ends the process like a step's."""

    def act() -> None:
        _setup(layout)
        settings = sections.load(given, tune.Params)
        tune.run_worker(layout.place(tune.Paths), worker, settings)

    run_task(f"tune-{worker}", act)


def _setup(layout: Layout, data_digest: str = "") -> None:
    """What every step can rely on: its folder, its server, and the data of this run."""
    if layout.shared:
        workspace.note_start(layout.run)
    os.chdir(layout.project)
    server.require_reachable(patience=server.outage_seconds())
    if data_digest:
        _require_digest(layout.place(DataPaths).report, data_digest)


def run_task(step: str, act: Callable[[], T]) -> T:
    """Run `act` and return its result, or end the process with the exit code.

    A refusal, which no retry changes, is also written where Argo looks before it retries.

    Raises:
        SystemExit: it failed; the code is that of the error family.
    """
    results = []

    def told() -> None:
        try:
            results.append(act())
        except PipelineError as error:
            # Kubernetes makes the file, and passes on what it holds.
            if error.exit_code == PipelineError.exit_code and _TERMINATION_LOG.exists():
                _TERMINATION_LOG.write_text(f"refused: {error}"[:_TERMINATION_CHARACTERS])
            raise

    if code := exit_code_of(told, step):
        raise SystemExit(code)
    return results[0]


def data_digest(folder: Path) -> str:
    """The data digest that validate wrote into its folder."""
    return files.read_artifact(folder / "report.json", ValidationReport).data_digest


def verdict(folder: Path) -> str:
    """The verdict that register wrote into its folder."""
    return files.read_artifact(folder / "decision.json", DecisionRecord).outcome.verdict


def _require_digest(report: Path, expected: str) -> None:
    found = data_digest(report.parent)
    if found != expected:
        raise ChangedInput(
            f"{report}: is about the data {short_digest(found)}, not {short_digest(expected)} of "
            "this run; start a new run."
        )
