"""The journal: who decided what about which model, append-only and chained by hashes.

It is the parameters of one MLflow run, because a parameter can be written once and never changed,
whichever way leads to the store: a database or a server. Parameter `000007` is record 7. Writing
the next number is thereby a compare-and-swap: of two writers one is refused. The registered model
names the run in the tag `journal`, set by the call that creates the model.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from components.core.artifacts import Part
from components.core.errors import PipelineError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.exceptions import MlflowException

    from components.tracking.store import Store

TAG = "journal"

# MLflow would cut a longer parameter, in silence.
_CHARACTERS = 6000

_TEXT, _NAME = 300, 100

_ABOUT = (
    "Image classifier. `champion` is the version in use, `previous` the one before it, `candidate` "
    "the one judged last; each version's description says how it was judged."
)

Action = Literal["decided", "promoting", "promoted", "void", "rejected", "pruned"]
Cause = Literal["gate", "approved", "rolled_back"]


class Event(Part):
    """What one record says.

    Attributes:
        action: decided = the gate's verdict; promoting and promoted = `champion` is about to move
            to `version`, and has moved; void = it will not; rejected = by a person; pruned = its
            weights are gone for good.
        cause: why `champion` moves: the gate, or a person.
        champion: the version before; empty when there was none.
        checks: name -> value, what was wanted, verdict.
        locked: whether the writer held a lock while writing.
    """

    action: Action
    version: str
    model_digest: str
    cause: Cause = "gate"
    package_digest: str = ""
    champion: str = ""
    champion_digest: str = ""
    verdict: str = ""
    decision_sha256: str = ""
    data_digest: str = ""
    test_digest: str = ""
    git: str = ""
    checks: dict[str, tuple[float | None, str, str]] = Field(default_factory=dict)
    reason: str = ""
    locked: bool = False


class LoggedEvent(Event):
    """An entry at its place in the chain.

    Attributes:
        before: SHA-256 of the record before as it is stored; empty in the first.
        nonce: tells equal entries of two writers apart.
        time: ISO 8601, UTC.
        who: login@host.
    """

    seq: int
    before: str
    nonce: str
    time: str
    who: str

    @property
    def entry(self) -> Event:
        """What it says, without its place."""
        return Event(**{name: getattr(self, name) for name in Event.model_fields})


class AuditLogMoved(PipelineError):
    """Somebody else wrote the next record."""


@dataclass(frozen=True)
class AuditLog:
    """The records of one registered model, oldest first.

    Attributes:
        run_id: the MLflow run that holds them; empty when there is none yet.
        head: SHA-256 of the last record as it is stored.
    """

    name: str
    run_id: str = ""
    records: tuple[LoggedEvent, ...] = ()
    head: str = ""

    @property
    def champion(self) -> LoggedEvent | None:
        """The record by which the present champion became it."""
        return next((r for r in reversed(self.records) if r.action == "promoted"), None)

    @property
    def open(self) -> LoggedEvent | None:
        """A promotion that was begun and neither finished nor given up."""
        moves = ("promoting", "promoted", "void")
        last = next((r for r in reversed(self.records) if r.action in moves), None)
        return last if last and last.action == "promoting" else None

    def verdict_on(self, version: str) -> LoggedEvent | None:
        """The newest verdict of the gate on a version."""
        found = (r for r in reversed(self.records) if r.action == "decided")
        return next((r for r in found if r.version == version), None)


def read(store: Store, name: str) -> AuditLog:
    """All records; empty for a model without a journal. A broken chain is a `PipelineError`."""
    model = _registered(store, name)
    run_id = model.tags.get(TAG, "") if model else ""
    if not run_id:
        return AuditLog(name)
    run = _run(store, name, run_id)
    texts = {key: text for key, text in run.data.params.items() if key.isdecimal()}
    records: list[LoggedEvent] = []
    head = ""
    for seq in range(1, len(texts) + 1):
        text = texts.get(_key(seq), "")
        record = None
        with suppress(ValidationError):
            record = LoggedEvent.model_validate_json(text)
        if record is None or (record.seq, record.before) != (seq, head):
            raise PipelineError(
                f"MLflow: the journal of {name} (run {run_id}) is broken at record {seq} of "
                f"{len(texts)}: it is missing or altered. Restore MLflow's database from a backup."
            )
        records.append(record)
        head = _digest(text)
    return AuditLog(name, run_id, tuple(records), head)


def append(store: Store, journal: AuditLog, entry: Event) -> AuditLog:
    """Write the record that follows `journal`; return the journal with it.

    Raises `AuditLogMoved` when somebody else was faster: read it again.
    """
    from mlflow.exceptions import MlflowException

    journal = journal if journal.run_id else ensure(store, journal.name)
    record, text = _following(journal, entry)
    try:
        store.client.log_param(journal.run_id, _key(record.seq), text)
    except MlflowException as error:
        if not _arrived(store, journal, text, error):
            raise AuditLogMoved(
                f"MLflow: somebody else wrote record {record.seq} of the journal of {journal.name} "
                "at the same moment. Run the same command again."
            ) from error
    return replace(journal, records=(*journal.records, record), head=_digest(text))


def _arrived(store: Store, journal: AuditLog, text: str, error: MlflowException) -> bool:
    """Whether the record stands though its call failed; raises `error` if nobody's does."""
    key = _key(len(journal.records) + 1)
    found = _run(store, journal.name, journal.run_id).data.params.get(key)
    if found is None:
        raise error
    return bool(found == text)


def ensure(store: Store, name: str) -> AuditLog:
    """The journal; made together with the registered model when that is missing.

    For a model that somebody else made, call it while holding the lock.
    """
    from mlflow.exceptions import MlflowException

    client = store.client
    model = _registered(store, name)
    if model and TAG in model.tags:
        return read(store, name)
    run_id = _create_run(store, name)
    try:
        if model:
            client.set_registered_model_tag(name, TAG, run_id)
        else:
            client.create_registered_model(name, tags={TAG: run_id}, description=_ABOUT)
    except MlflowException:
        # Another process was faster, or the answer was lost.
        made = _registered(store, name)
        if made is None or TAG not in made.tags:
            raise
        if made.tags[TAG] != run_id:
            client.delete_run(run_id)
    return read(store, name)


def _create_run(store: Store, name: str) -> str:
    tags = {"pipeline.kind": "journal", "pipeline.key": name}
    run = store.client.create_run(store.experiment_id, run_name=f"journal of {name}", tags=tags)
    store.client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def _registered(store: Store, name: str) -> RegisteredModel | None:
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _run(store: Store, name: str, run_id: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        run = store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise PipelineError(
            f"MLflow: the journal of {name}, run {run_id}, is gone. Restore MLflow's database from "
            "a backup."
        ) from error
    if run.data.tags.get("pipeline.key") != name:
        raise PipelineError(
            f"MLflow: the tag {TAG} of {name} names run {run_id}, which is not its journal. Set "
            f"the tag to the id of the run `journal of {name}` in the MLflow UI."
        )
    if run.info.lifecycle_stage != "active":
        raise PipelineError(
            f"MLflow: the journal of {name} was deleted; restore it with `mlflow runs restore "
            f"--run-id {run_id}`."
        )
    return run


def _following(journal: AuditLog, entry: Event) -> tuple[LoggedEvent, str]:
    """The record after the last one, and its text."""
    place = {
        "seq": len(journal.records) + 1,
        "before": journal.head,
        "nonce": secrets.token_hex(8),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": author()[:_NAME],
    }
    content = entry.model_dump() | {"reason": entry.reason[:_TEXT]} | place
    record = LoggedEvent.model_validate(content)
    text = _text(record)
    if len(text) > _CHARACTERS:
        # The receipt, named by its digest, has them all.
        record = record.model_copy(update={"checks": {}})
        text = _text(record)
    return record, text


def _text(record: LoggedEvent) -> str:
    return json.dumps(record.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def _key(seq: int) -> str:
    return f"{seq:06}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def author() -> str:
    """Who acts: MLflow's user or the login, and the host."""
    try:
        login = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        login = f"uid {os.getuid()}"
    return f"{login}@{socket.gethostname()}"
