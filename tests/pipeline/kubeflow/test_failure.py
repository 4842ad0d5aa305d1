"""Log and pods of a failed step, as a cluster has them."""

from typing import Any

import pytest

from pipeline.kubeflow import failure
from pipeline.kubeflow.failure import explain, own_lines

BEFORE = """\
I1125 10:12:01.123456      20 launcher_v2.go:180] input ComponentSpec:{
  "inputDefinitions": {}
}
time="2026-11-25T10:12:02.387Z" level=info msg="capturing logs" argo=true
[KFP Executor 2026-11-25 10:12:03,000 INFO]: Looking for component `train` in x
[KFP Executor 2026-11-25 10:12:03,100 INFO]: Got executor_input:
{
    "inputs": {
        "parameterValues": {}
    }
}
"""
AFTER = """\
I1125 10:13:01.335956      20 launcher_v2.go:193] publish success.
F1125 10:13:01.568909      20 main.go:54] failed to execute component: {end}
time="2026-11-25T10:13:02.294Z" level=info msg="sub-process exited" argo=true error="<nil>"
time=2026-11-29T07:36:10.644Z level=INFO msg="sub-process exited" error="exit status 1" argo=true
Error: exit status 1
"""
ARGO = (
    "; not retried: Argo's retryPolicy OnError does not retry a dead container: "
    "`sh infra/scripts/argo_defaults.sh`"
)


def launched(lines: str, end: str = "exit status 1") -> str:
    """The log of a pod whose step printed `lines`."""
    return BEFORE + lines + AFTER.format(end=end)


def ended(code: int, reason: str = "Error", **status: Any) -> dict[str, Any]:
    """The status of a pod whose main container ended."""
    main = {"name": "main", "state": {"terminated": {"exitCode": code, "reason": reason}}}
    wait = {"name": "wait", "state": {"terminated": {"exitCode": 9, "reason": "Other"}}}
    return {"phase": "Failed", "containerStatuses": [wait, main], **status}


def pod(status: dict[str, Any], attempt: int = 0, task: str = "train") -> dict[str, Any]:
    node = f"image-classification-x7x9l.root.{task}.executor({attempt})"
    metadata = {
        "name": f"{task}-{attempt}",
        "creationTimestamp": f"2026-11-25T10:0{attempt}:00Z",
        "annotations": {"workflows.argoproj.io/node-name": node},
    }
    return {"metadata": metadata, "status": status}


def last_line(log: str, *statuses: dict[str, Any], retries: int = 2) -> str:
    pods = [pod(status, attempt) for attempt, status in enumerate(statuses)]
    return explain("logs x", "train", log, pods, retries).lines[-1]


def test_only_the_lines_of_the_step_are_shown() -> None:
    lines = 'reading\n{\n}\nI am no launcher\nTraceback:\n  File "x"\nError: a class of ours\n'
    assert own_lines(launched(lines)) == lines.splitlines()


def test_a_log_without_its_beginning_loses_foreign_lines_only() -> None:
    assert own_lines(launched("epoch 1\n").partition("executor_input:")[2])[-1] == "epoch 1"
    assert own_lines("epoch 1\n") == ["epoch 1"]
    assert own_lines("") == []


def test_the_last_error_of_the_step_is_the_reason() -> None:
    log = launched("error: MLflow does not answer\nretrying\nerror: no images\nlast words\n")
    found = explain("logs x", "train", log, [pod(ended(1))], 2)
    assert found.reason == "no images"
    assert found.lines == [
        "error: MLflow does not answer",
        "retrying",
        "error: no images",
        "last words",
        "train: exit status 1, attempt 1 of 3; a refusal is not retried",
    ]


def test_what_the_launcher_hides_behind_its_own_code_is_read_from_its_log() -> None:
    log = launched("", end="exit status 5")
    assert last_line(log, ended(1)) == f"train: exit status 5, attempt 1 of 3{ARGO}"
    log = launched("", end="signal: killed")
    assert last_line(log, ended(1)) == f"train: signal: killed, attempt 1 of 3{ARGO}"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ended(137, "OOMKilled"), ("exit status 137 (OOMKilled)", "memory_gib")),
        (
            {"phase": "Failed", "reason": "DeadlineExceeded"},
            ("ended (DeadlineExceeded)", "minutes"),
        ),
        ({"phase": "Failed", "reason": "Evicted"}, ("ended (Evicted)", "")),
        (ended(137), ("exit status 137", "")),
    ],
)
def test_what_ended_the_pod_is_said_and_which_setting_is_its_limit(
    status: dict[str, Any], expected: tuple[str, str]
) -> None:
    end, setting = expected
    limit = f"; its limit is cluster.train.{setting}" if setting else ""
    assert last_line("", status) == f"train: {end}, attempt 1 of 3{ARGO}{limit}"


def test_attempts_are_counted_and_the_last_one_needs_no_excuse() -> None:
    lost = ended(137)
    assert last_line("", lost, lost) == f"train: exit status 137, attempt 2 of 3{ARGO}"
    assert last_line("", lost, lost, lost) == "train: exit status 137, attempt 3 of 3"
    assert last_line("", lost, retries=0) == "train: exit status 137, attempt 1 of 1"


def test_the_task_that_failed_last_is_explained_and_its_own_attempts_counted() -> None:
    failed = ended(137)
    pods = [
        pod(failed, 3, "worker-a"),
        pod(failed, 2, "worker-a"),
        pod(failed, 1, "worker-b"),
        pod({"phase": "Running"}, 5, "worker-a"),
    ]
    found = [each["metadata"]["name"] for each in failure._attempts(pods)]
    assert found == ["worker-a-2", "worker-a-3"]
