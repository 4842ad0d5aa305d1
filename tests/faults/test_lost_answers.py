"""The answer of each call is lost or cut once: MLflow's client, or ours, asks again."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient

from components.io import files
from components.registry import package, verification
from components.tracking.store import open_store
from tests import processes, registry
from tests.components.registry.test_registry_over_http import served as served
from tests.components.registry.test_registry_over_http import server as server
from tests.faults.proxy import Fault, Proxy
from tests.local_store import EMPTY, LocalStore
from tests.registry import NAME

# An answer ends within its head: its status is 200, its length was lost, its body looks empty.
CUT_HEAD = 40
READS = "GET|.*search"


@pytest.mark.row("N03", "N04")
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("fault", "left_alone"),
    [(Fault("drop"), READS), (Fault("cut", CUT_HEAD), "never")],
    ids=["lost", "cut"],
)
def test_one_version_and_one_champion_whatever_answer_is(
    fault: Fault,
    left_alone: str,
    server: tuple[str, LocalStore],
    served: str,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verification, "_require_same_predictions", lambda *_: None)
    for pause in ("FACTOR", "JITTER"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_BACKOFF_{pause}", "0")
    leave_out_code(tmp_path, monkeypatch)
    decision = registry.write_decision(tmp_path / "decision.json", files.digest_folder(small_model))
    words = (str(small_model), str(decision))
    with Proxy(urlsplit(served).port or 0) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.port}")
        processes.register(*words)
        calls = [call for call in proxy.seen if not re.match(left_alone, call)]
        short = [call.partition("/artifacts/")[0] for call in calls]
        kinds = sorted({re.sub("[0-9a-f]{32}", "[0-9a-f]{32}", call) for call in short})
        assert len(kinds) > 8
        for kind in kinds:
            server[1].load(EMPTY)
            proxy.plan(replace(fault, path=f"^{kind}"))
            processes.register(*words)
            assert re.match(f"{fault.kind} {fault.amount:g} {kind}", proxy.done.pop()), kind
            require_one(served, kind)


def leave_out_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have packages without the code of the project: each file of it is one request more.

    There are hundreds, all of one kind.
    """
    code = folder / "components"
    code.mkdir()
    (code / "__init__.py").write_text("")
    monkeypatch.setattr(package, "components", SimpleNamespace(__file__=str(code / "__init__.py")))


def require_one(uri: str, kind: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        with open_store() as store:
            assert len(registry.require_consistent(store)) == 1, kind
            actions = [action for action, _ in registry.events(store)]
    assert actions == ["evaluated", "promotion_started", "promotion_completed"], kind
    assert len(MlflowClient(uri).search_model_versions(f"name='{NAME}'")) == 1, kind
