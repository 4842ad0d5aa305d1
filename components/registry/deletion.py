"""Deleting stored weights; everything else about a version stays.

A deletion is an event of the audit log before it is done. The event is written by the same
compare-and-swap as verdicts and promotions: of a deletion and a promotion at the same moment one
comes second, sees the other and gives way, with or without a lock. A process may be killed anywhere
after the event: the next run deletes what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from components.core.errors import PipelineError
from components.registry import audit_log, champion, lock, retention
from components.registry.audit_log import AuditLog, AuditLogChanged, Event
from components.registry.retention import RetentionDecision, RetentionPolicy, StoredModel
from components.registry.versions import TARGET_MODEL
from components.tracking import server
from components.tracking.store import get_or_none

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.entities import PagedList

    from components.tracking.store import Store

T = TypeVar("T")

# Tag of a version whose weights are gone: the date. For people; the audit log is what counts.
TAG = "pruned"


class RegistryInconsistent(PipelineError):
    """Aliases and audit log disagree, or a promotion is pending: nobody knows what is needed."""

    exit_code = 3


@dataclass(frozen=True)
class DeletionPlan:
    """What happens to all that is stored of a registered model, as this audit log has it."""

    log: AuditLog
    decisions: tuple[RetentionDecision, ...]


def plan_deletion(store: Store, name: str, policy: RetentionPolicy, now: datetime) -> DeletionPlan:
    """What would go now; changes nothing.

    Raises:
        RegistryInconsistent: aliases and audit log disagree, or a promotion is pending.
        PipelineError: there is no such model.
    """
    log, aliases = _require_consistent(store, name)
    models = _stored_models(store, name, log)
    return DeletionPlan(log, retention.decide(models, log, aliases, policy, now))


def _require_consistent(store: Store, name: str) -> tuple[AuditLog, dict[str, str]]:
    while True:
        status, log = champion.read_champion(store, name)
        aliases = champion.aliases(store, name)
        if audit_log.read(store, name).head == log.head:
            break
    if not log.run_id:
        raise PipelineError(
            f"MLflow: there is no registered model {name} with an audit log; `--model` names "
            "another."
        )
    pending, problem = log.pending, status.problem or champion.alias_drift(log, aliases)
    if pending and not problem:
        problem = (
            f"the promotion of version {pending.version} has not ended; the next `dvc repro "
            "register` or rollback completes it"
        )
    if problem:
        raise RegistryInconsistent(f"{name}: nothing is pruned, because {problem}.")
    return log, aliases


def _stored_models(store: Store, name: str, log: AuditLog) -> list[StoredModel]:
    """Those of the versions, oldest first, then the uploads that no version was made of."""
    # Of all models: a version may use the files of another model's.
    every = list(_pages(store.client.search_model_versions))
    mine = sorted((v for v in every if v.name == name), key=lambda v: int(v.version))
    found = [
        StoredModel(
            model_id=champion.logged_model(version),
            created=_time(version.creation_timestamp),
            version=str(version.version),
            stored=not champion.pruned_reason(log, str(version.version))
            or size(store, champion.logged_model(version)) > 0,
            not_ours=_not_ours(version, every),
            tags=dict(version.tags),
        )
        for version in mine
    ]
    used = {champion.logged_model(version) for version in every}
    query = f"tags.{TARGET_MODEL} = '{name}'"
    uploads = partial(store.client.search_logged_models, [store.experiment_id], query)
    return found + [
        StoredModel(model_id=str(upload.model_id), created=_time(upload.creation_timestamp))
        for upload in _pages(uploads)
        if upload.model_id not in used
    ]


def _not_ours(version: ModelVersion, every: Sequence[ModelVersion]) -> str:
    if not champion.logged_model(version).startswith("m-") or "model" not in version.tags:
        return "it was not made by this pipeline"
    sources = {version.source, f"models:/{version.name}/{version.version}"}
    for other in every:
        same = (other.name, other.version) == (version.name, version.version)
        if not same and other.source in sources:
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
    return get_or_none(lambda: sum(_sizes(_repository(store, model_id)))) or 0


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
    store: Store, name: str, model: StoredModel, policy: RetentionPolicy, now: datetime
) -> str:
    """Delete the files of one stored model, if it may go at this moment too.

    Returns:
        Why it stays after all; empty when it is gone.

    Raises:
        RegistryInconsistent: as `plan_deletion`.
        PipelineError: MLflow did not delete the files, or there is no such model.
    """
    with lock.held(store, name) as guard:
        while True:
            plan = plan_deletion(store, name, policy, now)
            found = [each for each in plan.decisions if each.model.model_id == model.model_id]
            if len(found) != 1 or found[0].reason:
                return found[0].reason if found else "it is gone already"
            model = found[0].model
            if not model.version or champion.pruned_reason(plan.log, model.version):
                break
            event = _pruned(model, plan.log, policy).model_copy(update={"locked": guard.exclusive})
            try:
                audit_log.append(store, plan.log, event)
                break
            except AuditLogChanged:
                if guard.exclusive:
                    raise
    return _delete_files(store, name, model, now)


def _pruned(model: StoredModel, log: AuditLog, policy: RetentionPolicy) -> Event:
    evaluated = log.evaluation_of(model.version)
    return Event(
        action="pruned",
        version=model.version,
        model_digest=model.tags["model"],
        package_digest=model.tags.get("package", ""),
        verdict=evaluated.verdict if evaluated else "",
        data_digest=model.tags.get("data", ""),
        git=model.tags.get("git", ""),
        reason=f"older than {policy.days} days, not among the newest {policy.keep}",
    )


def _delete_files(store: Store, name: str, model: StoredModel, now: datetime) -> str:
    from requests import HTTPError

    if model.version:
        if TAG not in model.tags:
            store.client.set_model_version_tag(name, model.version, TAG, now.date().isoformat())
        # A person may have set one by hand a moment ago; its files are then left for now.
        for alias, version in champion.aliases(store, name).items():
            if version == model.version:
                return f"`{alias}` names it"
    try:
        _repository(store, model.model_id).delete_artifacts()  # type: ignore[no-untyped-call]
    except HTTPError as error:
        message = server.without_credentials(str(error))
        raise PipelineError(
            f"MLflow did not delete the files of {model.model_id} ({message}). If this user may "
            "not, grant it MANAGE on `logged_model`; then run the same command again."
        ) from error
    if not model.version:
        store.client.delete_logged_model(model.model_id)
    return ""
