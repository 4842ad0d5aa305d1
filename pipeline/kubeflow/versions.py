"""Pipelines of a Kubeflow Pipelines server: one for each model, with a version for each commit."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import kfp_server_api

from components.core.errors import PipelineError
from pipeline.kubeflow.connection import Connection, not_kubeflow

# The server reads and checks the whole pipeline before it answers.
_UPLOAD_SECONDS = 60.0


class Version(NamedTuple):
    """A version of a pipeline, by the server's names."""

    pipeline_id: str
    version_id: str


def publish(server: Connection, file: Path, name: str, label: str) -> Version:
    """The version of a pipeline that is this compiled file: found, or made.

    Another file of the same label (another image of the same commit) adds its digest to it.

    Args:
        server: where to.
        file: the compiled pipeline.
        name: of the pipeline.
        label: name of the version.

    Raises:
        PipelineError: the server refuses.
        ServiceUnavailable: it does not answer; the next call finds what this one has made.
    """
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    description = f"sha256 {digest}"
    pipeline_id = str(_find_or_make_pipeline(server, name).pipeline_id)
    found: Any = None
    for each in (label, f"{label}-{digest[:8]}"):
        found = _find_or_make_version(server, file, pipeline_id, each, description)
        if found.description == description:
            break
    return Version(pipeline_id, str(found.pipeline_version_id))


def _find_or_make_pipeline(server: Connection, name: str) -> Any:
    def find() -> Any:
        return _first(server.sdk.list_pipelines(filter=_named(name)).pipelines)

    def make() -> Any:
        body = kfp_server_api.V2beta1Pipeline(name=name, display_name=name)
        return server.sdk.pipelines.pipeline_service_create_pipeline(pipeline=body)

    return _find_or_make(server, find, make, "pipeline_id")


def _find_or_make_version(
    server: Connection, file: Path, pipeline_id: str, name: str, description: str
) -> Any:
    def find() -> Any:
        found = server.sdk.list_pipeline_versions(pipeline_id, filter=_named(name))
        return _first(found.pipeline_versions)

    def make() -> Any:
        return server.sdk.upload_pipeline_version(
            str(file), name, pipeline_id=pipeline_id, description=description
        )

    return _find_or_make(server, find, make, "pipeline_version_id")


def _find_or_make(
    server: Connection, find: Callable[[], Any], make: Callable[[], Any], key: str
) -> Any:
    """Where making fails, somebody was faster, or the answer was lost: then it is there."""
    found = server.call(find)
    if not found:
        try:
            found = server.call(make, _UPLOAD_SECONDS)
        except PipelineError:
            found = server.call(find)
            if not found:
                raise
    if not getattr(found, key):
        raise not_kubeflow(server.where)
    return found


def _named(name: str) -> str:
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _first(found: Any) -> Any:
    return found[0] if found else None
