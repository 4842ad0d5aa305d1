"""Runs of a Kubeflow Pipelines server: start one, get one."""

import signal
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from components.core.errors import Interrupted, MissingInput, ServiceUnavailable
from pipeline.kubeflow import kubectl
from pipeline.kubeflow.connection import Connection, not_kubeflow
from pipeline.kubeflow.monitor import PipelineRun, TaskStatus
from pipeline.kubeflow.versions import Version

# The server writes the whole workflow before it answers.
_START_SECONDS = 60.0


class Server(Connection):
    """A server that has answered, and its runs."""

    def __init__(self, endpoint: str | None) -> None:
        """As `Connection`."""
        super().__init__(endpoint)
        self._documents: dict[str, Mapping[str, Any]] = {}

    def start(
        self, version: Version, experiment: str, name: str, parameters: Mapping[str, str]
    ) -> str:
        """Start a run of a version of a pipeline; returns its id.

        Args:
            version: of the pipeline.
            experiment: of the run; made if it is not there.
            name: of the run.
            parameters: of the run.

        Raises:
            PipelineError: the server refuses.
            ServiceUnavailable: it does not answer; it may have started the run nevertheless.
            Interrupted: by the user; the server may have started the run nevertheless.
        """
        warning = f"The run may have started: look at {self.pages}/#/runs before you submit again."
        experiment_id = self.call(lambda: self.sdk.create_experiment(experiment)).experiment_id

        def start() -> Any:
            return self.sdk.run_pipeline(
                experiment_id,
                name,
                params=dict(parameters),
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
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
        return _read(found, self._document(found))

    def _document(self, found: Any) -> Mapping[str, Any]:
        """The compiled pipeline of a run, which of a version is not in the run; empty = deleted."""
        version = found.pipeline_version_reference
        if not version or not version.pipeline_version_id:
            return found.pipeline_spec or {}
        key = version.pipeline_version_id
        if key not in self._documents:
            try:
                of_version = self.call(
                    lambda: self.sdk.get_pipeline_version(version.pipeline_id, key)
                )
                self._documents[key] = of_version.pipeline_spec or {}
            except MissingInput:
                self._documents[key] = {}
        return self._documents[key]

    def page(self, run_id: str) -> str:
        """The address of the run's page."""
        return f"{self.pages}/#/runs/details/{run_id}"


def _read(found: Any, document: Mapping[str, Any]) -> PipelineRun:
    details = found.run_details.task_details if found.run_details else None
    return PipelineRun(
        run_id=found.run_id,
        state=found.state or "",
        created=found.created_at,
        message=_error(found),
        steps=dict(_steps(document)),
        retries=_retries(document),
        tracking_uri=_tracking_uri(document),
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


def _tracking_uri(document: Mapping[str, Any]) -> str:
    """All steps have the same."""
    for executor in _spec(document).get("deploymentSpec", {}).get("executors", {}).values():
        for entry in executor.get("container", {}).get("env", []):
            if entry["name"] == "MLFLOW_TRACKING_URI":
                return str(entry["value"])
    return ""


def _tasks(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    spec = _spec(document)
    for component in (spec.get("root", {}), *spec.get("components", {}).values()):
        yield from component.get("dag", {}).get("tasks", {}).items()


def _spec(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document.get("pipeline_spec", document)
    return found
