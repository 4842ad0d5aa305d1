import json
import re

from components.tracking import run_table
from components.tracking.store import open_store


def shared_view(tags: dict[str, str], route: str) -> dict[str, list[str]]:
    """What the link opens: MLflow's page reads the tag that the link's key names."""
    (key,) = re.findall("viewStateShareKey=([a-z]+)", route)
    view: dict[str, list[str]] = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    return view


def test_a_new_experiment_carries_the_columns_that_the_link_opens(store: str) -> None:
    with open_store() as opened:
        tags = opened.client.get_experiment(opened.experiment_id).tags
        view = shared_view(tags, run_table.route(opened.experiment_id))
    assert view["selectedColumns"][:2] == ["tags.`gate`", "metrics.`test/accuracy`"]


def test_an_experiment_that_was_there_before_gets_them(store: str) -> None:
    with open_store() as opened:
        older = opened.client.create_experiment("older", tags={"mlflow.note.content": "kept"})
        run_table.describe(opened.client, older)
        run_table.describe(opened.client, older)
        tags = opened.client.get_experiment(older).tags
    assert "gate" in shared_view(tags, run_table.route(older))["selectedColumns"][0]
    assert tags["mlflow.note.content"] == "kept"
