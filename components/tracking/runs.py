"""One MLflow run per pipeline execution, found again by its key.

A step that runs again continues the run it had: what is known already is not logged twice. Every
call names its run, so several may be open at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from components.core.errors import Interrupted
from components.tracking import limits, lineage
from components.tracking.metrics import MetricLog
from components.tracking.store import Store, open_store

if TYPE_CHECKING:
    from mlflow import entities

P = ParamSpec("P")
T = TypeVar("T")

_DIGEST_CHARACTERS = 32

_PARENT = "mlflow.parentRunId"


class Run:
    """An open MLflow run.

    Attributes:
        id: MLflow's run id.
        store: where the run is.
    """

    def __init__(self, store: Store, run: entities.Run) -> None:
        self.store = store
        self.id: str = run.info.run_id
        self._tags: dict[str, str] = dict(run.data.tags)
        self._params: dict[str, str] = dict(run.data.params)
        self._metrics = MetricLog(store, self.id, set(run.data.metrics))

    @property
    def link(self) -> str:
        """Where a person finds the run."""
        return self.store.link(self.id)

    @property
    def lineage(self) -> dict[str, str]:
        """The tags `git` and `dvc` of the code and images that the run was made from."""
        return {name: self._tags[name] for name in ("git", "dvc") if name in self._tags}

    def tag(self, name: str) -> str:
        """The value of a tag; empty when it was never set."""
        return self._tags.get(name, "")

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""
        from mlflow.entities import RunTag

        texts = {
            limits.clean_name(name): str(value)[: limits.TAG_CHARACTERS]
            for name, value in values.items()
        }
        new = {name: text for name, text in texts.items() if self._tags.get(name) != text}
        for batch in limits.batches([RunTag(*item) for item in new.items()], limits.TAGS):
            self._call(self.store.client.log_batch, self.id, tags=batch)
        self._tags |= new

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters. MLflow keeps the first value; a later one becomes a tag `changed.<name>`.

        Args:
            values: shown as text, cut after 6,000 characters; numbers with six digits.
        """
        from mlflow.entities import Param

        texts = {
            limits.clean_name(name): limits.to_text(value)[: limits.PARAM_CHARACTERS]
            for name, value in values.items()
        }
        new = {name: text for name, text in texts.items() if name not in self._params}
        for batch in limits.batches([Param(*item) for item in new.items()], limits.PARAMS):
            self._call(self.store.client.log_batch, self.id, params=batch)
        self._params |= new
        changed = {name: text for name, text in texts.items() if self._params[name] != text}
        self.tags({f"changed.{name}": text for name, text in changed.items()})

    def metrics(
        self,
        values: Mapping[str, float],
        step: int | None = None,
        *,
        by_clock: Mapping[str, float] | None = None,
    ) -> None:
        """Log numbers, to six significant digits; those that are not finite are left out.

        While the server is away they are kept, and logged once when it is back; nothing waits.

        Args:
            values: name -> number; `train/loss` becomes the chart `loss` in section `train`.
            step: epoch, or None for a number of the whole run.
            by_clock: like values, but what differs each time: the first of a step stays.
        """
        self._metrics.add(values, step or 0, by_clock or {})

    def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.store.patiently(call, *args, **kwargs)

    def flush(self) -> None:
        """Log the metrics that wait for the server, and wait for it."""
        self._call(self._metrics.log_waiting)

    def count_earlier(self, tag: str) -> int:
        """How many other runs of this kind were started before this one and have the same tag.

        Deleted ones count too: their test images were used.
        """
        from mlflow.entities import ViewType

        client, kind = self.store.client, self._tags["pipeline.kind"]
        started = client.get_run(self.id).info.start_time
        query = (
            f"tags.`pipeline.kind` = '{kind}' AND tags.`{tag}` = '{self._tags[tag]}' "
            f"AND attributes.start_time < {started}"
        )
        keys: set[str] = set()
        token: str | None = None
        while token != "":
            page = client.search_runs(
                [self.store.experiment_id], query, ViewType.ALL, page_token=token
            )
            keys |= {run.data.tags["pipeline.key"] for run in page}
            token = page.token or ""
        return len(keys - {self._tags["pipeline.key"]})

    def file(self, path: Path, folder: str = "") -> None:
        """Copy a file into the run's artifacts, into `folder` there."""
        self._call(self.store.client.log_artifact, self.id, str(path), folder or None)

    def dataset(self, name: str, digest: str, context: str) -> None:
        """Log what data the run used.

        Args:
            name: e.g. train.
            digest: the data digest; MLflow shows the first 32 of its 64 digits.
            context: e.g. training.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"data_digest": digest})
        dataset = Dataset(name, digest[:_DIGEST_CHARACTERS], source_type="manifest", source=source)
        tags = [InputTag("mlflow.data.context", context)]
        self._call(self.store.client.log_inputs, self.id, [DatasetInput(dataset, tags)])

    def finished_children(self) -> set[str]:
        """The names of the runs nested in this one that are complete."""
        client, names = self.store.client, set()
        query = f"tags.`{_PARENT}` = '{self.id}' AND attributes.status = 'FINISHED'"
        token: str | None = None
        while token != "":
            page = self._call(
                client.search_runs, [self.store.experiment_id], query, page_token=token
            )
            names |= {str(run.info.run_name) for run in page}
            token = page.token or ""
        return names

    @contextmanager
    def child(self, name: str, tags: Mapping[str, str] | None = None) -> Iterator[Run]:
        """Open a run nested in this one, e.g. a trial; found again by its name."""
        key = f"{self._tags['pipeline.key']}/{name}"
        with _opened(self.store, "trial", name, key, {**(tags or {}), _PARENT: self.id}) as run:
            yield run


@contextmanager
def open_run(
    *,
    kind: Literal["tune", "model", "compare"],
    name: str,
    key: str,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Open the run of this kind and key, or create it with the git revision and the DVC hash.

    It ends FINISHED, FAILED on an error, or KILLED on an interruption; it may be opened again.

    Args:
        kind: train, evaluate and register share the run of kind `model`.
        name: shown in the UI.
        key: what makes two executions the same, e.g. the card's training key.
        tags: set each time.

    Raises:
        ServiceUnavailable: MLflow does not answer.
    """
    with open_store(patient=True) as store:
        parent = {_PARENT: store.parent_run_id} if store.parent_run_id else {}
        with _opened(store, kind, name, key, {**(tags or {}), **parent}) as run:
            yield run


@contextmanager
def join_run(
    *, kind: Literal["tune"], name: str, key: str, tags: Mapping[str, str], patience: float
) -> Iterator[Run]:
    """Open the run that another process has open, and leave its state to that one.

    Args:
        kind: of the run.
        name: shown in the UI.
        key: as the other process names it.
        tags: set if the run must be made.
        patience: seconds to wait for the other process before making the run.

    Raises:
        ServiceUnavailable: MLflow does not answer.
    """
    deadline = time.monotonic() + patience
    with open_store(patient=True) as store:
        while (run := store.patiently(_find, store, kind, key)) is None:
            if time.monotonic() > deadline:
                run = store.patiently(_find_or_create, store, kind, name, key)
                run.tags(tags)
                break
            time.sleep(1)
        yield run


@contextmanager
def _opened(store: Store, kind: str, name: str, key: str, tags: Mapping[str, str]) -> Iterator[Run]:
    from mlflow.exceptions import MlflowException

    run = store.patiently(_find_or_create, store, kind, name, key)
    store.patiently(store.client.update_run, run.id, status="RUNNING")
    run.tags(tags)
    try:
        yield run
        run.flush()
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, Interrupted))
        with suppress(MlflowException):  # the error at hand matters more
            store.client.set_terminated(run.id, "KILLED" if stopped else "FAILED")
        raise
    store.patiently(store.client.set_terminated, run.id, "FINISHED")


def _find(store: Store, kind: str, key: str) -> Run | None:
    """The newest run with this key, whatever state it was left in."""
    query = f"tags.`pipeline.kind` = '{kind}' AND tags.`pipeline.key` = '{key}'"
    newest = ["attributes.start_time DESC"]
    runs = store.client.search_runs([store.experiment_id], query, max_results=1, order_by=newest)
    return Run(store, runs[0]) if runs else None


def _find_or_create(store: Store, kind: str, name: str, key: str) -> Run:
    if run := _find(store, kind, key):
        return run
    tags = {"pipeline.kind": kind, "pipeline.key": key, **lineage.tags()}
    return Run(store, store.client.create_run(store.experiment_id, run_name=name, tags=tags))
