"""Letting stored weights go; all else about a version stays.

A removal is a record of the journal before it is a deletion. The record is written by the same
compare-and-swap as verdicts and promotions: of a removal and a promotion at the same moment one
comes second, sees the other and gives way, with or without a lock. A process may be killed anywhere
behind the record: the next run deletes what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from components.core.errors import PipelineError
from components.registry import (
    audit_log as journal,
)
from components.registry import (
    champion as seats,
)
from components.registry import (
    lock,
    retention,
)
from components.registry import (
    versions as registry,
)
from components.registry.audit_log import AuditLog, AuditLogMoved, Event
from components.registry.retention import RetentionDecision, RetentionPolicy, StoredModel
from components.tracking import server

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.entities import PagedList

    from components.tracking.store import Store

T = TypeVar("T")

# Tag of a version whose weights are gone: the date. For people; the journal is what counts.
TAG = "pruned"


class RegistryInconsistent(PipelineError):
    """Aliases and journal disagree, or a promotion is under way: nobody knows what is needed."""

    exit_code = 3


@dataclass(frozen=True)
class DeletionPlan:
    """What happens to all packages of a model, as this journal has it."""

    log: AuditLog
    choices: tuple[RetentionDecision, ...]


def plan_deletion(store: Store, name: str, limits: RetentionPolicy, now: datetime) -> DeletionPlan:
    """What would go now; changes nothing.

    Raises:
        RegistryInconsistent: aliases and journal disagree, or a promotion is under way.
        PipelineError: there is no such model.
    """
    log, shown = _settled(store, name)
    return DeletionPlan(log, retention.choose(_packages(store, name, log), log, shown, limits, now))


def _settled(store: Store, name: str) -> tuple[AuditLog, dict[str, str]]:
    while True:
        seat, log = seats.look(store, name)
        shown = seats.aliases(store, name)
        if journal.read(store, name).head == log.head:
            break
    if not log.run_id:
        raise PipelineError(
            f"MLflow: there is no registered model {name} with a journal; `--model` names another."
        )
    begun = log.open
    doubt = seat.fault or seats.stray(log, shown)
    if begun and not doubt:
        doubt = (
            f"the promotion of version {begun.version} has not ended; the next `dvc repro register`"
            " or rollback finishes it"
        )
    if doubt:
        raise RegistryInconsistent(f"{name}: nothing is pruned, because {doubt}.")
    return log, shown


def _packages(store: Store, name: str, log: AuditLog) -> list[StoredModel]:
    """Those of the versions, oldest first, then the uploads that no version was made of."""
    # Of all models: a version may use the files of another model's.
    every = list(_pages(store.client.search_model_versions))
    mine = sorted((v for v in every if v.name == name), key=lambda v: int(v.version))
    found = [
        StoredModel(
            model_id=seats.logged_model(version),
            created=_time(version.creation_timestamp),
            version=str(version.version),
            stored=not seats.pruned(log, str(version.version))
            or size(store, seats.logged_model(version)) > 0,
            foreign=_foreign(version, every),
            tags=dict(version.tags),
        )
        for version in mine
    ]
    used = {seats.logged_model(version) for version in every}
    uploads = partial(
        store.client.search_logged_models,
        [store.experiment_id],
        f"tags.{registry.TARGET_MODEL} = '{name}'",
    )
    return found + [
        StoredModel(model_id=str(upload.model_id), created=_time(upload.creation_timestamp))
        for upload in _pages(uploads)
        if upload.model_id not in used
    ]


def _foreign(version: ModelVersion, every: Sequence[ModelVersion]) -> str:
    if not seats.logged_model(version).startswith("m-") or "model" not in version.tags:
        return "it was not made by this pipeline"
    places = {version.source, f"models:/{version.name}/{version.version}"}
    for other in every:
        same = (other.name, other.version) == (version.name, version.version)
        if not same and other.source in places:
            return f"version {other.version} of {other.name} uses its files"
    return ""


def _pages(call: Callable[..., PagedList[T]]) -> Iterator[T]:
    token: str | None = None
    while token != "":
        page = call(page_token=token)
        yield from page
        token = page.token or ""


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def size(store: Store, model_id: str) -> int:
    """Bytes of all files of a logged model; 0 when there are none."""
    from mlflow.exceptions import MlflowException

    try:
        return sum(_sizes(_repository(store, model_id)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return 0


def _repository(store: Store, model_id: str) -> ArtifactRepository:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    location = store.client.get_logged_model(model_id).artifact_location
    return get_artifact_repository(location, tracking_uri=store.uri)


def _sizes(files: ArtifactRepository, folder: str | None = None) -> Iterator[int]:
    for entry in files.list_artifacts(folder):
        if entry.is_dir:
            yield from _sizes(files, entry.path)
        else:
            yield int(entry.file_size or 0)


def delete(
    store: Store, name: str, package: StoredModel, limits: RetentionPolicy, now: datetime
) -> str:
    """Delete one package's files, if it may go at this moment too.

    Returns:
        Why it stays after all; empty when it is gone.

    Raises:
        RegistryInconsistent: as `plan_deletion`.
        PipelineError: MLflow did not delete the files, or there is no such model.
    """
    with lock.held(store, name) as guard:
        while True:
            plan = plan_deletion(store, name, limits, now)
            found = [each for each in plan.choices if each.package.model_id == package.model_id]
            if len(found) != 1 or found[0].reason:
                return found[0].reason if found else "it is gone already"
            package = found[0].package
            if not package.version or seats.pruned(plan.log, package.version):
                break
            entry = _entry(package, plan.log, limits).model_copy(update={"locked": guard.exclusive})
            try:
                journal.append(store, plan.log, entry)
                break
            except AuditLogMoved:
                if guard.exclusive:
                    raise
    return _delete(store, name, package, now)


def _entry(package: StoredModel, log: AuditLog, limits: RetentionPolicy) -> Event:
    verdict = log.verdict_on(package.version)
    return Event(
        action="pruned",
        version=package.version,
        model_digest=package.tags["model"],
        package_digest=package.tags.get("package", ""),
        verdict=verdict.verdict if verdict else "",
        data_digest=package.tags.get("data", ""),
        git=package.tags.get("git", ""),
        reason=f"older than {limits.days} days, not among the newest {limits.keep}",
    )


def _delete(store: Store, name: str, package: StoredModel, now: datetime) -> str:
    from requests import HTTPError

    if package.version:
        if TAG not in package.tags:
            store.client.set_model_version_tag(name, package.version, TAG, now.date().isoformat())
        # A person may have set one by hand a moment ago; its files are then left for now.
        for alias, version in seats.aliases(store, name).items():
            if version == package.version:
                return f"`{alias}` names it"
    try:
        _repository(store, package.model_id).delete_artifacts()  # type: ignore[no-untyped-call]
    except HTTPError as error:
        said = server.without_credentials(str(error))
        raise PipelineError(
            f"MLflow did not delete the files of {package.model_id} ({said}). If this user may not,"
            " grant it MANAGE on `logged_model`; then run the same command again."
        ) from error
    if not package.version:
        store.client.delete_logged_model(package.model_id)
    return ""
