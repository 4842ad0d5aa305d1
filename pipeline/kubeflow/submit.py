"""`submit`: start a run of this checkout on Kubeflow Pipelines, and follow it.

A run goes on whether it is followed or not.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from components.core.errors import PipelineError, ServiceUnavailable
from components.core.gate.policy import Verdict
from components.core.phrases import short_digest
from components.io import params
from pipeline import SETTINGS
from pipeline.exit_codes import EXIT_INTERRUPTED
from pipeline.kubeflow import git_state, kubectl, remote_images, resources
from pipeline.kubeflow.monitor import FINAL_STATES, SUCCEEDED, PipelineRun, RunMonitor

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Server

# Between two requests, and how long a server may not answer while a run is followed.
PAUSE_SECONDS = 10.0
PATIENCE_SECONDS = 600.0

_LINES = 30

# How long the remote of the images may take: a hundred thousand of them are listed.
_REMOTE_SECONDS = 60.0

# What register prints of its decision.
_HEADLINE = re.compile(rf"(?<![^ ])({'|'.join(get_args(Verdict))}) .*")


def submit(
    image: str,
    *,
    endpoint: str | None,
    repository: str | None,
    experiment: str,
    wait: bool,
) -> int:
    """Start a run of the pushed commit; returns the exit code.

    Args:
        image: of every task, pinned by its digest.
        endpoint: of Kubeflow Pipelines; None = as the environment says.
        repository: where the cluster fetches from; None = the git remote `origin`.
        experiment: of Kubeflow Pipelines.
        wait: follow the run to its end.

    Raises:
        PipelineError: the checkout cannot be fetched, the server refuses, or the run failed.
        ServiceUnavailable: repository or server does not answer.
    """
    from pipeline.kubeflow.client import Server

    fetched = git_state.read(repository)
    _require_images(fetched.data_hash)
    server = Server(endpoint)
    run_id = _start(server, image, fetched, experiment)
    facts = f"git {short_digest(fetched.revision)}, data {short_digest(fetched.data_hash)}"
    print(f"run {run_id}: {server.page(run_id)} ({facts})", flush=True)
    return follow(server, run_id) if wait else 0


def _require_images(data_hash: str) -> None:
    """Refuse a run whose fetch would find no images; only a warning where that cannot be known."""
    try:
        remote_images.require(data_hash, _REMOTE_SECONDS)
    except (ServiceUnavailable, TimeoutError) as error:  # perhaps only the cluster has the keys
        print(f"submit: warning: are the images there? {error}", file=sys.stderr)


def follow_run(endpoint: str | None, run_id: str) -> int:
    """Follow a run that was started before; as `follow`."""
    from pipeline.kubeflow.client import Server

    return follow(Server(endpoint), run_id)


def _start(server: Server, image: str, fetched: git_state.Source, experiment: str) -> str:
    from pipeline.kubeflow.compiler import compile_to

    cluster = params.load(SETTINGS, resources.Params).cluster
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        compile_to(compiled, Path.cwd(), image, cluster)
        return server.start(compiled, fetched, experiment)


def follow(server: Server, run_id: str) -> int:
    """Print what happens to a run until it ends; returns 0 when it succeeded.

    Ctrl-C leaves the run alone and returns 130.

    Raises:
        PipelineError: the run failed, or the server refuses.
        ServiceUnavailable: the server did not answer for too long; the run goes on.
    """
    again = f"python -m pipeline submit --follow {run_id} --endpoint {server.endpoint}"
    try:
        run = _watch(server, run_id, again)
    except KeyboardInterrupt:
        print(f"submit: detached; the run goes on. Follow it again: {again}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if run.state != SUCCEEDED:
        raise _failure(server, run)
    print(f"run {run_id}: succeeded; {_verdict(server, run_id)}")
    return 0


def _watch(server: Server, run_id: str, again: str) -> PipelineRun:
    """Print each change until the run has ended."""
    monitor, last_answer, known = RunMonitor(), time.monotonic(), False
    while True:
        try:
            run = server.get_run(run_id)
        except PipelineError as error:
            elapsed = time.monotonic() - last_answer
            no_answer = isinstance(error, ServiceUnavailable)
            if not no_answer and not known:
                raise  # no such run, perhaps
            if not no_answer or elapsed > PATIENCE_SECONDS:
                text = (
                    f"{error} Last answer {elapsed:.0f} s ago; the run goes on. Follow it: {again}"
                )
                raise type(error)(text) from error
        else:
            last_answer, known = time.monotonic(), True
            for line in monitor.changes(run):
                print(line, flush=True)
            if run.state in FINAL_STATES:
                return run
        time.sleep(PAUSE_SECONDS)


def _verdict(server: Server, run_id: str) -> str:
    """What register decided: from its log, because KFP's API does not pass on what tasks return."""
    try:
        log = kubectl.run(*_log_arguments(server, run_id, "register", 200))
    except PipelineError:
        log = ""
    found = [match[0] for match in map(_HEADLINE.search, log.splitlines()) if match]
    return found[-1] if found else "its verdict: `python -m pipeline status`, or register's page"


def _log_arguments(server: Server, run_id: str, step: str, lines: int) -> list[str]:
    # A Kubeflow of one user may be installed anywhere, and does not say where.
    known = server.namespace == kubectl.NAMESPACE
    place = server.namespace if known else kubectl.find_namespace(run_id, step, server.namespace)
    return kubectl.log_arguments(place, run_id, step, lines)


def _failure(server: Server, run: PipelineRun) -> PipelineError:
    """The error of a run that did not succeed; the last lines of its failed steps go to stderr."""
    failed = run.failed()
    steps = list(dict.fromkeys(task.name for task in failed))
    for label in dict.fromkeys(run.steps[step] for step in steps if step in run.steps):
        _print_log(server, run.run_id, label)
    messages = dict.fromkeys([run.message, *(task.message for task in failed)])
    text = " ".join(" ".join(message.split()) for message in messages if message)
    what = f"{', '.join(steps)} failed" if steps else f"ended as {run.state.lower()}"
    reason = f" ({text[:300]})" if text else ""
    rest = f"; not run: {', '.join(run.never_ran())}" if run.never_ran() else ""
    return PipelineError(f"run {run.run_id}: {what}{reason}{rest}; {server.page(run.run_id)}")


def _print_log(server: Server, run_id: str, step: str) -> None:
    words = _log_arguments(server, run_id, step, _LINES)
    try:
        log = kubectl.run(*words, "--prefix") or "(nothing: another context, or the pod is gone)\n"
    except PipelineError as error:
        log = f"{error}\n"
    print(f"last lines of {step} (kubectl {' '.join(words)}):\n{log}", end="", file=sys.stderr)
