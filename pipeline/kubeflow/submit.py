"""`submit`: start a run of this checkout on Kubeflow Pipelines, and follow it.

A run goes on whether somebody follows it or not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from components.core.errors import PipelineError, ServiceUnavailable
from components.core.gate.policy import Verdict
from components.io import command, params
from pipeline.kubeflow import git_state as source
from pipeline.kubeflow import kubectl
from pipeline.kubeflow import monitor as runs
from pipeline.kubeflow import resources as cluster

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Server

SETTINGS = Path("params.yaml")
EXPERIMENT = "image-classification"

# Between two looks, and how long a server may be silent while a run is followed.
PAUSE_SECONDS = 10.0
PATIENCE_SECONDS = 600.0

_LINES = 30


def add_parser(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], prepare: Callable[[], None]
) -> None:
    """Add the verb.

    Args:
        verbs: of the program.
        prepare: checks params.yaml and that kfp is installed.
    """
    text = (submit.__doc__ or "").splitlines()[0]
    parser = verbs.add_parser("submit", help=text, description=text)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", metavar="NAME@sha256:DIGEST", help="start a run in this image")
    what.add_argument("--follow", metavar="RUN_ID", help="start nothing; follow this run")
    parser.add_argument("--wait", action="store_true", help="follow the run to its end")
    parser.add_argument("--endpoint", metavar="URL", help="default: KF_PIPELINES_ENDPOINT")
    parser.add_argument("--repository", metavar="URL", help="default: the git remote `origin`")
    parser.add_argument("--experiment", default=EXPERIMENT, metavar="NAME")

    def act(given: argparse.Namespace) -> int:
        prepare()
        return submit(given)

    parser.set_defaults(act=act)


def submit(given: argparse.Namespace) -> int:
    """Start a run of the pushed commit on Kubeflow Pipelines; --wait follows it to its end."""
    from pipeline.kubeflow.client import Server

    if given.follow:
        return follow(Server(given.endpoint), given.follow)
    fetched = source.read(given.repository)
    server = Server(given.endpoint)
    run_id = _start(server, given.image, fetched, given.experiment)
    facts = f"git {fetched.revision[:12]}, data {fetched.data_hash[:12]}"
    print(f"run {run_id}: {server.page(run_id)} ({facts})", flush=True)
    return follow(server, run_id) if given.wait else 0


def _start(server: Server, image: str, fetched: source.Source, experiment: str) -> str:
    from pipeline.kubeflow.compiler import compile_to

    wanted = params.load(SETTINGS, cluster.Params).cluster
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        compile_to(compiled, Path.cwd(), image, wanted)
        return server.start(compiled, fetched, experiment)


def follow(server: Server, run_id: str) -> int:
    """Print what happens to a run until it ends; returns 0 when it succeeded.

    Ctrl-C leaves the run alone and returns 130.

    Raises:
        PipelineError: the run failed, or the server refuses.
        ServiceUnavailable: the server was silent for too long; the run goes on.
    """
    again = f"python -m pipeline submit --follow {run_id} --endpoint {server.endpoint}"
    try:
        run = _watch(server, run_id, again)
    except KeyboardInterrupt:
        print(f"submit: detached; the run goes on. Follow it again: {again}", file=sys.stderr)
        return command.INTERRUPTED
    if run.state != runs.SUCCEEDED:
        raise _failure(server, run)
    print(f"run {run_id}: succeeded; {_verdict(server, run_id)}")
    return 0


def _watch(server: Server, run_id: str, again: str) -> runs.Run:
    """Say the news until the run has ended."""
    watch, heard, known = runs.Watch(), time.monotonic(), False
    while True:
        try:
            run = server.look(run_id)
        except PipelineError as error:
            silence = time.monotonic() - heard
            silent = isinstance(error, ServiceUnavailable)
            if not silent and not known:
                raise  # no such run, perhaps
            if not silent or silence > PATIENCE_SECONDS:
                text = (
                    f"{error} Last heard {silence:.0f} s ago; the run goes on. Follow it: {again}"
                )
                raise type(error)(text) from error
        else:
            heard, known = time.monotonic(), True
            for line in watch.news(run):
                print(line, flush=True)
            if run.state in runs.ENDS:
                return run
        time.sleep(PAUSE_SECONDS)


def _verdict(server: Server, run_id: str) -> str:
    """What register decided: from its log, because KFP's API keeps a task's answer to itself."""
    starts = tuple(f"{verdict} " for verdict in get_args(Verdict))
    try:
        log = kubectl.ask(*kubectl.log_words(server.namespace, run_id, "register", 200))
    except PipelineError:
        log = ""
    said = [line for line in log.splitlines() if line.startswith(starts)]
    return said[-1] if said else "its verdict: `python -m pipeline status`, or register's page"


def _failure(server: Server, run: runs.Run) -> PipelineError:
    """The error of a run that did not succeed; the last lines of its failed steps go to stderr."""
    failed = run.failed()
    steps = list(dict.fromkeys(task.name for task in failed))
    for label in dict.fromkeys(run.steps[step] for step in steps if step in run.steps):
        _print_log(server, run.run_id, label)
    messages = dict.fromkeys([run.message, *(task.message for task in failed)])
    said = " ".join(" ".join(message.split()) for message in messages if message)
    what = f"{', '.join(steps)} failed" if steps else f"ended as {run.state.lower()}"
    reason = f" ({said[:300]})" if said else ""
    return PipelineError(f"run {run.run_id}: {what}{reason}; {server.page(run.run_id)}")


def _print_log(server: Server, run_id: str, step: str) -> None:
    words = kubectl.log_words(server.namespace, run_id, step, _LINES)
    try:
        log = kubectl.ask(*words, "--prefix") or "(nothing: another context, or the pod is gone)\n"
    except PipelineError as error:
        log = f"{error}\n"
    print(f"last lines of {step} (kubectl {' '.join(words)}):\n{log}", end="", file=sys.stderr)
