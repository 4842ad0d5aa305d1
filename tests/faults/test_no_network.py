"""A whole run where there is no network at all, not even this machine's own."""

from pathlib import Path

import pytest

from components.registry import champion
from components.tracking.store import open_store
from tests.faults import confined, tiny_project
from tests.test_end_to_end import STEPS


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.row("N16")
def test_a_whole_run_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_project.make(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for step in STEPS:
        done = confined.run(
            confined.pipeline("step", step),
            network=False,
            cwd=tmp_path,
            environment={"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(tmp_path)},
        )
        assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with open_store() as store:
        assert champion.aliases(store, "tiny")["champion"] == "1"
