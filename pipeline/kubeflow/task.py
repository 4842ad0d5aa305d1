"""What a task on the cluster does: one step, in the folder of its run. Imports no kfp."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from components import tune
from components.core.artifacts import ValidationReport
from components.core.errors import ChangedInput, PipelineError
from components.core.gate.record import DecisionRecord
from components.core.phrases import short_digest
from components.io import files, params
from components.io.data.dataset import DataPaths
from components.tracking import server
from pipeline.exit_codes import exit_code_of
from pipeline.kubeflow import fetch, workspace

P = TypeVar("P")

_ARTIFACTS = Path("artifacts")
_PIXELS = Path("cache")


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
        workspace.make_folder(layout.project)
        if layout.shared:
            workspace.note_start(layout.run)
            for line in workspace.prune(layout.run, keep_days):
                print(line, flush=True)
        cache = layout.shared / "dvc" if layout.shared else None
        fetch.fetch(layout.project, repository, revision, data_hash, cache)

    run_once("fetch", layout, act)


def run_step(step: str, layout: Layout, sections: Mapping[str, str], data_digest: str = "") -> Path:
    """Run one step of the project; a step that fails ends the process with its exit code.

    Args:
        step: name of its module below `components`.
        layout: where it reads and writes.
        sections: those of params.yaml that it reads, each as JSON.
        data_digest: from validate; empty for validate itself.

    Returns:
        The folder of what the step wrote.
    """
    module = importlib.import_module(f"components.{step}")

    def act() -> None:
        _setup(layout, data_digest)
        module.run(layout.place(module.Paths), read_sections(sections, module.Params))

    run_once(step, layout, act)
    return layout.outputs / step


def run_worker(layout: Layout, sections: Mapping[str, str], worker: int) -> None:
    """Run trials for tune as worker `worker`; a failure ends the process like a step's."""

    def act() -> None:
        _setup(layout)
        settings = read_sections(sections, tune.Params)
        tune.run_worker(layout.place(tune.Paths), worker, settings)

    run_once(f"tune-{worker}", layout, act)


def _setup(layout: Layout, data_digest: str = "") -> None:
    """What every step can rely on: its folder, its server, and the data of this run."""
    if layout.shared:
        workspace.note_start(layout.run)
    os.chdir(layout.project)
    server.require_reachable()
    if data_digest:
        _require_digest(layout.place(DataPaths).report, data_digest)


def read_sections(sections: Mapping[str, str], kind: type[params.P]) -> params.P:
    """What `params.load` would read from a file of these sections.

    Args:
        sections: name -> content as JSON, which YAML can read.
        kind: the class that names what it reads.

    Raises:
        InvalidParams: as for the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        lines = (f"{name}: {text}\n" for name, text in sections.items())
        file.write_text("".join(lines), encoding="utf-8")
        return params.load(file, kind)


def run_once(step: str, layout: Layout, act: Callable[[], object]) -> None:
    """Run `act`, or end the process with the exit code; what was refused once stays refused.

    A cluster retries whatever failed, whatever the exit code. So a refusal, which no retry changes,
    is written down and ends the next try at once.

    Raises:
        SystemExit: it failed; the code is that of the error family.
    """
    note = layout.outputs / f".{step}.refused"

    def once() -> None:
        if note.is_file():
            raise PipelineError(note.read_text(encoding="utf-8"))
        try:
            act()
        except PipelineError as error:
            if error.exit_code == PipelineError.exit_code:
                with contextlib.suppress(OSError):  # where to write may be what is refused
                    note.parent.mkdir(parents=True, exist_ok=True)
                    files.write_text(note, str(error))
            raise

    if code := exit_code_of(once, step):
        raise SystemExit(code)


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
