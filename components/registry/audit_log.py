"""The audit log: who decided what about which model, append-only and chained by hashes.

It is the parameters of one MLflow run, because a parameter can be written once and never changed,
however the store is reached: as a database or through a server. Parameter `000007` is event 7.
Writing the next number is thereby a compare-and-swap: of two writers one is refused. The registered
model names the run in the tag `audit_log`, set by the call that creates the model.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.core.artifacts import Part
from components.core.errors import PipelineError
from components.registry import adoption, version_1
from components.tracking import lineage
from components.tracking.store import ensure_experiment, get_or_none

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.exceptions import MlflowException

    from components.tracking.store import Store

TAG = "audit_log"
SCHEMA_VERSION: Literal[2] = 2

# MLflow would silently cut a longer parameter.
_EVENT_CHARACTERS = 6000

_REASON_CHARACTERS, _ACTOR_CHARACTERS = 300, 100

_DESCRIPTION = (
    "Image classifier. `champion` is the version in use, `previous` the one before it, `candidate` "
    "the one evaluated last; each version's description says how it was decided on."
)
_NOTE = {"mlflow.note.content": "Who decided what, and why: `python -m pipeline history`."}

Action = Literal[
    "evaluated",
    "promotion_started",
    "promotion_completed",
    "promotion_aborted",
    "rejected",
    "pruned",
]
Trigger = Literal["gate", "approved", "rolled_back"]


class Event(Part):
    """What happened to a version.

    Attributes:
        action: evaluated = by the gate; promotion_started, _completed, _aborted = `champion` is
            about to move to `version`, has moved, or will not; rejected = by a person; pruned = its
            weights are gone for good.
        trigger: why `champion` moves: the gate passed it, or a person said so.
        champion: the version before; empty when there was none.
        verdict: passed | blocked | error, of the gate; empty when it was never evaluated.
        checks: name -> value, threshold, status.
        locked: whether the writer held a lock while writing.
    """

    action: Action
    version: str
    model_digest: str
    trigger: Trigger = "gate"
    package_digest: str = ""
    champion: str = ""
    champion_digest: str = ""
    verdict: Literal["", "passed", "blocked", "error"] = ""
    decision_sha256: str = ""
    data_digest: str = ""
    test_digest: str = ""
    git: str = ""
    checks: dict[str, tuple[float | None, str, str]] = Field(default_factory=dict)
    reason: str = ""
    locked: bool = False


class LoggedEvent(Event):
    """An event at its place in the chain.

    Attributes:
        schema_version: events without one are of version 1 and upgraded when they are read.
        previous_hash: SHA-256 of the event before as it is stored; empty in the first.
        nonce: tells equal events of two writers apart.
        time: ISO 8601, UTC.
        actor: login@host.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    seq: int
    previous_hash: str
    nonce: str
    time: str
    actor: str

    @property
    def event(self) -> Event:
        """What it says, without its place."""
        return Event(**{name: getattr(self, name) for name in Event.model_fields})


class AuditLogChanged(PipelineError):
    """Somebody else wrote the next event."""


@dataclass(frozen=True)
class AuditLog:
    """The events of one registered model, oldest first.

    Attributes:
        run_id: the MLflow run that holds them; empty when there is none yet.
        head: SHA-256 of the last event as it is stored.
    """

    name: str
    run_id: str = ""
    events: tuple[LoggedEvent, ...] = ()
    head: str = ""

    @property
    def promotions(self) -> list[LoggedEvent]:
        """The completed ones."""
        return [event for event in self.events if event.action == "promotion_completed"]

    @property
    def champion(self) -> LoggedEvent | None:
        """The event by which the present champion became it."""
        return next(reversed(self.promotions), None)

    @property
    def pending(self) -> LoggedEvent | None:
        """A promotion that was started and neither completed nor aborted."""
        last = next((e for e in reversed(self.events) if e.action.startswith("promotion_")), None)
        return last if last and last.action == "promotion_started" else None

    def evaluation_of(self, version: str) -> LoggedEvent | None:
        """The gate's newest verdict on a version."""
        found = (e for e in reversed(self.events) if e.action == "evaluated")
        return next((event for event in found if event.version == version), None)


def read(store: Store, name: str) -> AuditLog:
    """All events; none for a model without an audit log.

    Raises:
        PipelineError: the chain is broken, the run is gone, or a newer version wrote to it.
    """
    run_id = _find_run(store, name)
    if not run_id:
        return AuditLog(name)
    texts = {k: v for k, v in _run(store, name, run_id).data.params.items() if k.isdecimal()}
    events: list[LoggedEvent] = []
    head = ""
    for seq in range(1, len(texts) + 1):
        text = texts.get(f"{seq:06}", "")
        event = _parse(text, f"MLflow: event {seq} of the audit log of {name} (run {run_id})")
        if event is None or (event.seq, event.previous_hash) != (seq, head):
            raise PipelineError(
                f"MLflow: the audit log of {name} (run {run_id}) is broken at event {seq} of "
                f"{len(texts)}: it is missing or altered. Restore MLflow's database from a backup."
            )
        events.append(event)
        head = hashlib.sha256(text.encode()).hexdigest()
    return AuditLog(name, run_id, tuple(events), head)


def _parse(text: str, where: str) -> LoggedEvent | None:
    """The event, upgraded if it is of version 1; None if it is none."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        content = json.loads(text)
        found = content.get("schema_version", 1)
        if isinstance(found, int) and found > SCHEMA_VERSION:
            raise PipelineError(
                f"{where} has schema version {found}; this checkout reads up to {SCHEMA_VERSION}. "
                "Update it, then run the same command again."
            )
        upgraded = version_1.upgrade_event(content) if found == 1 else content
        return LoggedEvent.model_validate(upgraded)
    return None


def append(store: Store, log: AuditLog, event: Event) -> AuditLog:
    """Write the event that follows `log`; return the log with it.

    Raises `AuditLogChanged` when somebody else was faster: read it again.
    """
    from mlflow.exceptions import MlflowException

    log = log if log.run_id else ensure(store, log.name)
    logged, text = _next(log, event)
    try:
        store.client.log_param(log.run_id, f"{logged.seq:06}", text)
    except MlflowException as error:
        if not _was_written(store, log, text, error):
            raise AuditLogChanged(
                f"MLflow: somebody else wrote event {logged.seq} of the audit log of {log.name} at "
                "the same moment. Run the same command again."
            ) from error
    return replace(
        log, events=(*log.events, logged), head=hashlib.sha256(text.encode()).hexdigest()
    )


def _was_written(store: Store, log: AuditLog, text: str, error: MlflowException) -> bool:
    """Whether the event is stored though its call failed; raises `error` if nobody's is."""
    params = _run(store, log.name, log.run_id).data.params
    found = params.get(f"{len(log.events) + 1:06}")
    if found is None:
        raise error
    return bool(found == text)


def ensure(store: Store, name: str) -> AuditLog:
    """The audit log; made together with the registered model when that is missing.

    For a model that somebody else made, call it while holding the lock.
    """
    from mlflow.exceptions import MlflowException

    if _find_run(store, name):
        return read(store, name)
    client, tags = store.client, {"pipeline.kind": TAG, "pipeline.key": name}
    # Apart from the runs: there it would stand in their table, and whoever trains may write.
    place = ensure_experiment(client, f"{name} audit log", _NOTE)
    run = client.create_run(place, run_name=f"audit log of {name}", tags=tags)
    run_id = str(run.info.run_id)
    client.set_terminated(run_id, "FINISHED")
    try:
        client.create_registered_model(name, tags={TAG: run_id}, description=_DESCRIPTION)
    except MlflowException:  # it exists, or the response was lost
        if get_or_none(client.get_registered_model, name) is None:
            raise
        if not _find_run(store, name):
            adoption.adopt(store, name, TAG, run_id)
    if _find_run(store, name) != run_id:
        client.delete_run(run_id)
    return read(store, name)


def _find_run(store: Store, name: str) -> str:
    model = get_or_none(store.client.get_registered_model, name)
    tags = model.tags if model else {}
    return str(tags.get(TAG) or tags.get(version_1.TAG) or "")


def _run(store: Store, name: str, run_id: str) -> Run:
    run = get_or_none(store.client.get_run, run_id)
    if run is None:
        raise PipelineError(
            f"MLflow: the audit log of {name}, run {run_id}, is gone. Restore MLflow's database "
            "from a backup."
        )
    if run.data.tags.get("pipeline.key") != name:
        raise PipelineError(
            f"MLflow: the tag `{TAG}` (or `{version_1.TAG}`) of {name} names run {run_id}, which is"
            f" not its audit log. Set `{TAG}` to the id of the run `audit log of {name}` (or "
            f"`journal of {name}`) in the MLflow UI."
        )
    if run.info.lifecycle_stage != "active":
        raise PipelineError(
            f"MLflow: the audit log of {name} was deleted; restore it with `mlflow runs restore "
            f"--run-id {run_id}`; if its experiment was, with `mlflow experiments restore "
            f"--experiment-id {run.info.experiment_id}`."
        )
    return run


def _next(log: AuditLog, event: Event) -> tuple[LoggedEvent, str]:
    """The event after the last one, and its text."""
    place = {
        "seq": len(log.events) + 1,
        "previous_hash": log.head,
        "nonce": secrets.token_hex(8),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "actor": lineage.current_actor()[:_ACTOR_CHARACTERS],
    }
    content = event.model_dump() | {"reason": event.reason[:_REASON_CHARACTERS]} | place
    logged = LoggedEvent.model_validate(content)
    text = _text(logged)
    if len(text) > _EVENT_CHARACTERS:
        # The decision record, named by its digest, has them all.
        logged = logged.model_copy(update={"checks": {}})
        text = _text(logged)
    return logged, text


def _text(event: LoggedEvent) -> str:
    return json.dumps(event.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
