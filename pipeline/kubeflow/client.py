"""Runs of a Kubeflow Pipelines server: start one, get one."""

import signal
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from components.core.errors import Interrupted, ServiceUnavailable
from pipeline.kubeflow import graph, kubectl
from pipeline.kubeflow.connection import Connection, not_kubeflow
from pipeline.kubeflow.monitor import PipelineRun, TaskStatus

# The server writes the whole workflow before it answers.
_START_SECONDS = 60.0


class Server(Connection):
    """A server that has answered, and its runs."""

    def start(self, file: Path, source: Mapping[str, str], title: str, experiment: str) -> str:
        """Start a run of a compiled pipeline; returns its id.

        Args:
            file: the pipeline.
            source: its arguments.
            title: what tells its runs apart.
            experiment: of Kubeflow Pipelines.

        Raises:
            PipelineError: the server refuses.
            ServiceUnavailable: it does not answer; it may have started the run nevertheless.
            Interrupted: by the user; the server may have started the run nevertheless.
        """
        warning = f"The run may have started: look at {self.pages}/#/runs before you submit again."

        def start() -> Any:
            return self.sdk.create_run_from_pipeline_package(
                str(file),
                arguments=dict(source),
                run_name=f"{graph.NAME} {title}",
                experiment_name=experiment,
                service_account=kubectl.ACCOUNT,
            )

        try:
            run_id = self.call(start, _START_SECONDS).run_id
        except ServiceUnavailable as error:
            raise ServiceUnavailable(f"{error} {warning}") from error
        except KeyboardInterrupt as error:
            raise Interrupted(f"submit: interrupted. {warning}", signal.SIGINT) from error
        if not run_id:
            raise not_kubeflow(self.where)
        return str(run_id)

    def get_run(self, run_id: str) -> PipelineRun:
        """A snapshot of the run.

        Raises:
            PipelineError: the server refuses, or does not know the run.
            ServiceUnavailable: it does not answer.
        """
        found = self.call(lambda: self.sdk.get_run(run_id))
        if not found.run_id:
            raise not_kubeflow(self.where)
        return _read(found)

    def page(self, run_id: str) -> str:
        """The address of the run's page."""
        return f"{self.pages}/#/runs/details/{run_id}"


def _read(found: Any) -> PipelineRun:
    details = found.run_details.task_details if found.run_details else None
    document = found.pipeline_spec or {}
    return PipelineRun(
        run_id=found.run_id,
        state=found.state or "",
        created=found.created_at,
        message=_error(found),
        steps=dict(_steps(document)),
        retries=_retries(document),
        tasks=tuple(_task(task) for task in details or []),
    )


def _task(found: Any) -> TaskStatus:
    return TaskStatus(
        key=found.task_id or "",
        name=found.display_name or "",
        state=found.state or "",
        started=_moment(found.start_time),
        ended=_moment(found.end_time),
        message=_error(found),
    )


def _moment(found: datetime | None) -> datetime | None:
    """The server writes the epoch of some calendar for what has not happened."""
    return found if found and found.year > 1970 else None


def _error(found: Any) -> str:
    return (found.error.message or "") if found.error else ""


def _steps(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of the tasks, at any depth, that run a container, and their pods' `pipeline-step`."""
    platforms = document.get("platform_spec", {}).get("platforms", {})
    pods = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    components = _spec(document).get("components", {})
    for name, task in _tasks(document):
        executor = components.get(task["componentRef"]["name"], {}).get("executorLabel")
        if executor:
            labels = pods.get(executor, {}).get("podMetadata", {}).get("labels", {})
            yield name, labels.get("pipeline-step", name)


def _retries(document: Mapping[str, Any]) -> int:
    """All steps have the same."""
    policies = [task.get("retryPolicy", {}) for _, task in _tasks(document)]
    return max((int(policy.get("maxRetryCount", 0)) for policy in policies), default=0)


def _tasks(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    spec = _spec(document)
    for component in (spec.get("root", {}), *spec.get("components", {}).values()):
        yield from component.get("dag", {}).get("tasks", {}).items()


def _spec(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document.get("pipeline_spec", document)
    return found
