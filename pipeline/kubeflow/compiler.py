"""Kubeflow Pipelines: compile the pipeline, or run its real graph on this machine."""

import io
import logging
import os
import re
import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from kfp import compiler, local

from components.core.artifacts import ValidationReport
from components.core.errors import InvalidParams, PipelineError
from components.core.gate.record import DecisionRecord
from components.core.phrases import short_digest
from components.io import files
from components.tracking import server
from pipeline.kubeflow import graph, sections
from pipeline.kubeflow.resources import ClusterParams

LOCAL_OUTPUTS = Path("artifacts/run-local")

# Of a name with or without the registry's port, and never a tag.
_PINNED = r"([\w.-]+(:\d+)?/)?[\w./-]+@sha256:[0-9a-f]{64}"

# kfp writes names and states in color, also to a file.
_COLORS = re.compile("\x1b\\[[0-9;]*m")


def compile_to(output: Path, root: Path, image: str, cluster: ClusterParams) -> None:
    """Write the pipeline as Kubeflow's YAML; equal inputs give equal bytes.

    Args:
        output: file to write.
        root: folder of params.yaml.
        image: of every task, pinned by its digest.
        cluster: what each task asks for.

    Raises:
        InvalidParams: `image` is not pinned.
    """
    _write(output, graph.build(sections.to_json(root), _tasks(image, cluster)))


def compile_branch(output: Path, image: str, cluster: ClusterParams) -> None:
    """The same for the pipeline that runs what a branch holds when it starts."""
    _write(output, graph.build_branch(_tasks(image, cluster)))


def _tasks(image: str, cluster: ClusterParams) -> graph.Tasks:
    if not re.fullmatch(_PINNED, image):
        raise InvalidParams(
            f"--image {image}: is not pinned; it should be NAME@sha256:<64 hex digits>, as "
            "`docker push` prints it: a tag may be another image tomorrow."
        )
    # Below the volume's top folder, which is not ours: git trusts only folders of its user.
    return graph.Tasks(image, cluster, graph.workspace_of(cluster), "checkout", "artifacts")


def _write(output: Path, pipeline: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        output.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(output, file.read_bytes())


def run_local(root: Path, *, register: bool = False) -> DecisionRecord:
    """Run the graph on the data below `root`, each task in a process of its own; no fetch.

    Writes to artifacts/run-local, after emptying it: kfp's own lines go into kfp.log there.

    Args:
        root: the project, which is the current folder: tasks import it from there.
        register: use the MLflow store that is set, so that the registry gets a version and the test
            set a use; otherwise a store of its own, which has no champion.

    Returns:
        The decision.

    Raises:
        PipelineError: a task failed, or none did and yet there is no decision about these data.
    """
    outputs = root / LOCAL_OUTPUTS
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir(parents=True)
    if not register:
        os.environ["MLFLOW_TRACKING_URI"] = server.sqlite_uri(outputs / "mlflow.db")
    # "python" is no image: it is what this runner wants to see, and ignores.
    tasks = graph.Tasks("python", None, str(root), ".", str(LOCAL_OUTPUTS))
    pipeline = graph.build(sections.to_json(root), tasks)
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(outputs / "kfp"))
    logging.getLogger().setLevel(logging.WARNING)  # else kfp's last line goes past the log
    try:
        with (outputs / "kfp.log").open("w") as log, redirect_stdout(StepLines(sys.stdout, log)):
            run = pipeline(repository="", revision="", data_hash="")
    except RuntimeError as error:
        reason = " ".join(_COLORS.sub("", str(error)).split())
        raise PipelineError(
            f"run-local: {reason} See the task's output above and {LOCAL_OUTPUTS}/kfp.log."
        ) from error
    return require_outcome(outputs, str(run.output))


class StepLines(io.TextIOBase):
    """Passes the lines of our steps on, tracebacks too, and keeps all lines in a log.

    Args:
        shown: where the steps' lines go.
        log: where all lines go.
    """

    _OURS = re.compile(r"(validate|tune|train|evaluate|register|trial \d+|mlflow) +\S|error: ")

    def __init__(self, shown: TextIO, log: TextIO) -> None:
        self._shown, self._log, self._line = shown, log, ""
        self._in_traceback = False

    def write(self, text: str) -> int:
        """Take text, which need not end with a line."""
        self._log.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            plain = line.strip()
            begins = plain.startswith("Traceback (")
            self._in_traceback = bool(plain) and (self._in_traceback or begins)
            if self._in_traceback:
                print(line, file=self._shown, flush=True)
            elif self._OURS.match(plain):
                print(plain, file=self._shown, flush=True)
        return len(text)


def require_outcome(outputs: Path, verdict: str) -> DecisionRecord:
    """The decision that a run wrote: kfp calls some runs successful that did nothing.

    Args:
        outputs: folder that stands for `artifacts`; it was empty when the run started.
        verdict: what the last task returned.

    Raises:
        PipelineError: the files of the run do not agree with each other.
    """
    report = files.read_artifact(outputs / "validate/report.json", ValidationReport)
    record = files.read_artifact(outputs / "register/decision.json", DecisionRecord)
    found = (record.evidence.data_digest, record.outcome.verdict)
    if found != (report.data_digest, verdict):
        raise PipelineError(
            f"{outputs}: the decision is {found[1]} on the data {short_digest(found[0])}, but "
            f"the run ended with {verdict} on {short_digest(report.data_digest)}; run it again."
        )
    return record
