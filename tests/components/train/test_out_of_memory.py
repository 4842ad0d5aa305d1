"""The train step where memory does not suffice for a batch: a real allocator refuses."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components import train
from components.core.errors import OutOfMemory
from components.io import models
from tests.components.conftest import Settings, Workspace
from tests.components.train.places import paths, run_of
from tests.hungry import let_memory_fail

pytestmark = pytest.mark.usefixtures("store")


@pytest.mark.row("R10")
def test_smaller_micro_batches_go_on_and_the_run_says_so(
    workspace: Workspace,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    let_memory_fail(monkeypatch, most=4)
    params = settings(train.Params, {"train.epochs": 2, "training.seed": 31})
    train.run(train.Paths(**paths(workspace, tmp_path)), params)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("train     out of memory")]
    assert line.endswith(
        "images at a time: 4 from here on, and their gradients are added up to steps of 8"
    )
    card = models.load_card(tmp_path / "model")
    assert (card.settings["batch_size"], card.settings["micro_batch_size"]) == (8, 4)
    note = (
        "memory did not suffice for 8 images at a time: the gradients of each step were added up "
        "over 4 at a time"
    )
    assert f"train     {note}" in lines
    assert run_of(store, card).data.tags["out_of_memory"] == note


@pytest.mark.row("R10")
def test_what_fits_in_no_way_is_one_line_and_writes_no_model(
    workspace: Workspace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_memory_fail(monkeypatch, most=0)
    params = settings(train.Params, {"train.epochs": 2, "training.seed": 32})
    with pytest.raises(OutOfMemory, match="use smaller images or"):
        train.run(train.Paths(**paths(workspace, tmp_path)), params)
    assert not (tmp_path / "model").exists()
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    newest = client.search_runs(experiments, max_results=1)[0]
    assert newest.info.status == "FAILED"
