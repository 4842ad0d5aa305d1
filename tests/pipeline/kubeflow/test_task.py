import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components import train
from components.core.errors import InvalidData, PipelineError, ServiceUnavailable
from pipeline.kubeflow import task
from tests.components.conftest import ROOT


def refuse(error: PipelineError) -> None:
    raise error


def test_paths_below_artifacts_move_with_the_outputs_and_data_stay() -> None:
    found = task.read_layout(
        "/volume", {"checkout": "checkout", "outputs": "artifacts/mine", "shared": ""}
    )
    assert found.project == Path("/volume/checkout")
    paths = found.place(train.Paths)
    assert paths.images == Path("data/images")
    assert paths.cache == Path("cache")
    assert paths.model == Path("/volume/checkout/artifacts/mine/train/model")


def test_a_task_returns_what_it_did_or_ends_with_the_code_of_its_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert task.run_task("train", lambda: "done") == "done"
    codes = []
    for error in (InvalidData("the images break a rule"), ServiceUnavailable("nobody answers")):
        with pytest.raises(SystemExit) as raised:
            task.run_task("train", lambda error=error: refuse(error))  # type: ignore[misc]
        codes.append(raised.value.code)
    assert codes == [1, 5]
    expected = "error: the images break a rule\nerror: nobody answers\n"
    assert capfd.readouterr().err == expected


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InvalidData("the images break a rule"), "refused: the images break a rule"),
        (InvalidData("x" * 5000), f"refused: {'x' * 991}"),
        (ServiceUnavailable("nobody answers"), ""),
    ],
)
def test_kubernetes_is_told_what_no_retry_changes(
    error: PipelineError, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "termination-log"
    monkeypatch.setattr(task, "_TERMINATION_LOG", log)
    log.write_text("")
    with pytest.raises(SystemExit):
        task.run_task("train", lambda: refuse(error))
    assert log.read_text() == told
    defaults = yaml.safe_load((ROOT / "infra/argo-defaults.yaml").read_text())
    strategy = defaults["workflowDefaults"]["spec"]["templateDefaults"]["retryStrategy"]
    assert strategy["expression"] == (
        'lastRetry.status == "Error" || '
        'asInt(lastRetry.exitCode) > 0 && not (lastRetry.message contains "refused:")'
    )


def test_an_internal_error_ends_with_its_own_code() -> None:
    with pytest.raises(SystemExit) as raised:
        task.run_task("train", lambda: int("none"))
    assert raised.value.code == 70


def test_a_step_reads_the_settings_it_was_given_and_refuses_wrong_ones(tmp_path: Path) -> None:
    """In a process of its own: a step changes the current folder."""
    code = (
        "from pathlib import Path; from pipeline.kubeflow import task; "
        f"where = task.read_layout({str(tmp_path)!r}, "
        "{'checkout': '.', 'outputs': 'mine', 'shared': ''}); "
        "task.run_step('evaluate', where, {'evaluate': '{\"top_losses\": \"many\"}'})"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert 'evaluate.top_losses is "many"' in done.stderr.replace("'", '"')
    assert "section data is missing" in done.stderr
    assert "Traceback" not in done.stderr
