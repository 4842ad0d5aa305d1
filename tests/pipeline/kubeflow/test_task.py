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


def layout(folder: Path) -> task.Layout:
    return task.Layout(folder, folder / "artifacts", folder)


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


def test_a_refusal_is_repeated_by_retries_and_tried_anew_by_a_person_s_retry(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = layout(tmp_path)
    worked: list[int] = []
    monkeypatch.setenv("HOSTNAME", "train-0")
    with pytest.raises(SystemExit) as first:
        task.run_once("train", where, lambda: refuse(InvalidData("the images break a rule")))
    codes = [first.value.code]
    for pod in ("train-1", "train-2"):
        monkeypatch.setenv("HOSTNAME", pod)
        with pytest.raises(SystemExit) as again:
            task.run_once("train", where, lambda: worked.append(1))
        codes.append(again.value.code)
    assert codes == [1, 1, 1]
    assert worked == []
    assert capfd.readouterr().err == "error: the images break a rule\n" * 3
    task.run_once("evaluate", where, lambda: worked.append(1))
    assert worked == [1]

    # "Retry" on the run's page starts with the name of the first pod.
    monkeypatch.setenv("HOSTNAME", "train-0")
    task.run_once("train", where, lambda: worked.append(2))
    assert worked == [1, 2]
    # The step has done its work: what another pod is asked for is no refusal any more.
    monkeypatch.setenv("HOSTNAME", "train-3")
    task.run_once("train", where, lambda: worked.append(3))
    assert worked == [1, 2, 3]


def test_what_may_succeed_later_is_tried_again(tmp_path: Path) -> None:
    where = layout(tmp_path)
    with pytest.raises(SystemExit) as raised:
        task.run_once("train", where, lambda: refuse(ServiceUnavailable("MLflow does not answer")))
    assert raised.value.code == 5
    worked: list[int] = []
    task.run_once("train", where, lambda: worked.append(1))
    assert worked == [1]


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
    for _ in range(2):
        log.write_text("")
        with pytest.raises(SystemExit):
            task.run_once("train", layout(tmp_path), lambda: refuse(error))
        assert log.read_text() == told
    defaults = yaml.safe_load((ROOT / "infra/argo-defaults.yaml").read_text())
    strategy = defaults["workflowDefaults"]["spec"]["templateDefaults"]["retryStrategy"]
    assert strategy["expression"] == (
        'lastRetry.status == "Error" || '
        'asInt(lastRetry.exitCode) > 0 && not (lastRetry.message contains "refused:")'
    )


def test_an_internal_error_ends_with_its_own_code(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        task.run_once("train", layout(tmp_path), lambda: int("none"))
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
    assert "top_losses" in (tmp_path / "mine/.evaluate.refused").read_text()
