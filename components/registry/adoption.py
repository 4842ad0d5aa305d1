"""The audit log of a registered model that somebody else made."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.tracking.store import Store


def adopt(store: Store, name: str, tag: str, run_id: str) -> None:
    """Let the model's tag name the run of its audit log: of several adopters the first one's.

    The name of an experiment is unique in every store, so an experiment called like the audit log
    decides, also where there is no lock; a tag is not, and the last one to set it would win.

    Args:
        store: where the model is.
        name: of the registered model.
        tag: that names the run.
        run_id: the run that this process offers.
    """
    from mlflow.exceptions import MlflowException

    title = f"audit log of {name}"
    with suppress(MlflowException):  # somebody else was first
        store.client.create_experiment(title, tags={tag: run_id})
    first = store.client.get_experiment_by_name(title)
    assert first is not None
    with suppress(MlflowException):  # refused while another one inserts the same
        store.client.set_registered_model_tag(name, tag, first.tags[tag])
