"""Follow a run of Kubeflow Pipelines to its end. It goes on whether it is followed or not."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from components.core.errors import PipelineError, ServiceUnavailable
from pipeline.exit_codes import EXIT_INTERRUPTED
from pipeline.kubeflow import failure, kubectl, verdict
from pipeline.kubeflow.monitor import FINAL_STATES, SUCCEEDED, PipelineRun, RunMonitor, duration
from pipeline.kubeflow.waiting import WaitingMonitor

if TYPE_CHECKING:
    from pipeline.kubeflow.client import Server

# Between two requests, and how long a server may not answer while a run is followed.
PAUSE_SECONDS = 10.0
PATIENCE_SECONDS = 600.0

_LONGEST = 600


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
    headline, link = verdict.read(_namespace(server, run_id), run)
    print(f"run {run_id}: succeeded; {headline}")
    if link:
        print(link)
    return 0


def _watch(server: Server, run_id: str, again: str) -> PipelineRun:
    """Print each change until the run has ended."""
    run = _Followed(server, run_id, again)
    monitor = RunMonitor()
    waiting = WaitingMonitor(run_id, lambda: _namespace(server, run_id))
    while True:
        found = run.look()
        for line in monitor.changes(found) if found else ():
            print(line, flush=True)
        if found and found.state in FINAL_STATES:
            return found
        for line in waiting.changes():
            print(line, flush=True)
        time.sleep(PAUSE_SECONDS)


class _Followed:
    """A run whose server may not answer for a while: that is said once, and when it is over."""

    def __init__(self, server: Server, run_id: str, again: str) -> None:
        self._server, self._run_id, self._again = server, run_id, again
        self._last_answer = time.monotonic()
        self._known = self._is_silent = False

    def look(self) -> PipelineRun | None:
        """A snapshot; None = no answer, and the patience lasts."""
        try:
            found = self._server.get_run(self._run_id)
        except ServiceUnavailable as error:
            if self._silence() > PATIENCE_SECONDS:
                raise self._given_up(error) from error
            if not self._is_silent:
                limit = f"up to {duration(PATIENCE_SECONDS)}"
                print(f"submit: {error} The run goes on; asking again for {limit}.", flush=True)
            self._is_silent = True
            return None
        except PipelineError as error:
            if not self._known:
                raise  # no such run, perhaps
            raise self._given_up(error) from error
        if self._is_silent:
            print(f"submit: Kubeflow answers again after {duration(self._silence())}.", flush=True)
        self._last_answer, self._known, self._is_silent = time.monotonic(), True, False
        return found

    def _silence(self) -> float:
        return time.monotonic() - self._last_answer

    def _given_up(self, error: PipelineError) -> PipelineError:
        seconds = f"{self._silence():.0f} s"
        text = f"{error} Last answer {seconds} ago; the run goes on. Follow it: {self._again}"
        return type(error)(text)


def _namespace(server: Server, run_id: str) -> str:
    """Where the pods are: a Kubeflow of one user may be installed anywhere, and does not say."""
    if server.namespace == kubectl.NAMESPACE:
        return server.namespace
    return kubectl.find_namespace(run_id, server.namespace)


def _failure(server: Server, run: PipelineRun) -> PipelineError:
    """The error of a run that did not succeed; the last lines of its failed steps go to stderr."""
    failed = run.failed()
    steps = list(dict.fromkeys(task.name for task in failed))
    found = {}
    for label in dict.fromkeys(run.steps[step] for step in steps if step in run.steps):
        found[label] = failure.read(_namespace(server, run.run_id), run.run_id, label, run.retries)
        print(f"last lines of {label} (kubectl {found[label].command}):", file=sys.stderr)
        print(*found[label].lines, sep="\n", file=sys.stderr)
    # Kubeflow's own messages name no reason of a step that has said one.
    own = [each.reason for each in found.values() if each.reason]
    messages = dict.fromkeys(own or [run.message, *(task.message for task in failed)])
    text = " ".join(" ".join(message.split()) for message in messages if message)
    what = f"{', '.join(steps)} failed" if steps else f"ended as {run.state.lower()}"
    reason = f" ({text[:_LONGEST]})" if text else ""
    rest = f"; not run: {', '.join(run.never_ran())}" if run.never_ran() else ""
    return PipelineError(f"run {run.run_id}: {what}{reason}{rest}; {server.page(run.run_id)}")
