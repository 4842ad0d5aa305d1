"""A registry of schema version 1, rebuilt in an empty MLflow store from its exported texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

REGISTRY = Path(__file__).parent / "registry"


def rebuild(uri: str, events: int | None = None, aliases: Mapping[str, str] | None = None) -> None:
    """Rebuild it in an empty SQLite database.

    The store gives new ids to runs and logged models; texts that name an old one get the new one.
    The events of the audit log are stored as they are. There are no weights.

    Args:
        uri: of the database.
        events: how many there are; None = all.
        aliases: alias -> version; None = as exported.
    """
    from mlflow import MlflowClient

    content = json.loads((REGISTRY / "registry.json").read_text(encoding="utf-8"))
    client, ids = MlflowClient(uri), dict[str, str]()
    artifacts = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    experiment = client.create_experiment(content["experiment"], str(artifacts))
    journal = _create_run(client, experiment, content["journal"], ids)
    for seq, text in [*content["journal"]["params"].items()][:events]:
        client.log_param(journal, seq, text)
    _end(client, content["journal"], ids)
    for run in content["runs"]:
        _fill(client, _create_run(client, experiment, run, ids), run)
    model = content["model"]
    tags = {name: _renamed(text, ids) for name, text in model["tags"].items()}
    client.create_registered_model(model["name"], tags, model["description"])
    for version in content["versions"]:
        _create_version(client, experiment, model["name"], version, ids)
    for alias, number in (model["aliases"] if aliases is None else aliases).items():
        client.set_registered_model_alias(model["name"], alias, number)
    for run in content["runs"]:
        _end(client, run, ids)


def _create_run(
    client: MlflowClient, experiment: str, content: dict[str, Any], ids: dict[str, str]
) -> str:
    run = client.create_run(experiment, content["start_time"], content["tags"], content["name"])
    ids[content["id"]] = str(run.info.run_id)
    return ids[content["id"]]


def _fill(client: MlflowClient, run_id: str, content: dict[str, Any]) -> None:
    from mlflow.entities import Metric, Param

    params = [Param(*item) for item in content["params"].items()]
    client.log_batch(run_id, [Metric(*point) for point in content["metrics"]], params)
    client.log_artifacts(run_id, str(REGISTRY / content["artifacts"] / "register"), "register")


def _create_version(
    client: MlflowClient, experiment: str, name: str, content: dict[str, Any], ids: dict[str, str]
) -> None:
    logged, run_id = content["logged_model"], ids[content["run_id"]]
    made = client.create_logged_model(
        experiment,
        name=logged["name"],
        source_run_id=run_id,
        tags=logged["tags"],
        params=logged["params"],
        model_type=logged["model_type"],
    )
    client.finalize_logged_model(made.model_id, logged["status"])
    ids[logged["id"]] = made.model_id
    version = client.create_model_version(
        name,
        _renamed(content["source"], ids),
        run_id,
        content["tags"],
        description=_renamed(content["description"], ids),
        model_id=made.model_id,
    )
    assert str(version.version) == content["version"], "the store was not empty"


def _end(client: MlflowClient, content: dict[str, Any], ids: dict[str, str]) -> None:
    client.set_terminated(ids[content["id"]], content["status"], content["end_time"])


def _renamed(text: str, ids: dict[str, str]) -> str:
    return reduce(lambda found, old: found.replace(old, ids[old]), ids, text)
