"""`doctor --cluster --probe` on stand-ins of the cluster whose pods run for real."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from pipeline.doctor import probe as probing
from pipeline.doctor.check import CheckResult
from pipeline.kubeflow.probe_pods import LABEL
from tests.components.conftest import ROOT
from tests.pipeline.checkout import Checkout
from tests.pipeline.kfp_server import Kubeflow
from tests.pipeline.kube_server import RUNS, Cluster

IMAGE = f"registry.example.org/team/classifier@sha256:{'a' * 64}"

Status = dict[str, Any]


def rows_of(image: str = IMAGE) -> dict[str, CheckResult]:
    return dict(probing.probe(image, None))


def says(text: str, phase: str = "Succeeded") -> Callable[[dict[str, Any]], tuple[Status, str]]:
    return lambda _: ({"phase": phase}, text)


def run_for_real(kube: Cluster, workspace: Path) -> Callable[[dict[str, Any]], tuple[Status, str]]:
    """A kubelet whose containers are processes here, with the variables of the pod."""

    def kubelet(pod: dict[str, Any]) -> tuple[Status, str]:
        main, status = pod["spec"]["containers"][0], {"phase": "Running"}
        command = [sys.executable, *main["command"][1:]]
        command[-1] = command[-1].replace('"/kfp-workspace"', json.dumps(str(workspace)))
        given = {each["name"]: each.get("value", "unset") for each in main["env"]}
        environment = {**os.environ, **given, "PYTHONPATH": str(ROOT)}

        def act() -> None:
            done = subprocess.run(
                command, env=environment, cwd="/", capture_output=True, text=True, check=False
            )
            kube.logs[pod["metadata"]["name"]] = done.stdout + done.stderr
            status["phase"] = "Failed" if done.returncode else "Succeeded"

        threading.Thread(target=act).start()
        return status, ""

    return kubelet


def test_what_a_killed_probe_left_is_deleted_and_what_another_uses_is_not(
    kube: Cluster, checkout: Checkout
) -> None:
    def claim(name: str, hours: float) -> dict[str, Any]:
        made = datetime.now(UTC) - timedelta(hours=hours)
        metadata = {
            "name": name,
            "labels": {LABEL: name},
            "creationTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": metadata}

    kube.items["persistentvolumeclaims"] = [claim("probe-old", 2.1), claim("probe-now", 0.9)]
    kube.kubelet = says("")
    assert rows_of()["gone"].status == "pass"
    left = [each["metadata"]["name"] for each in kube.items["persistentvolumeclaims"]]
    assert left == ["probe-now"]


def test_four_pods_one_after_the_other_ask_everything_and_nothing_is_left(
    kube: Cluster, checkout: Checkout
) -> None:
    kube.kubelet = says('{"check": "x", "status": "pass", "found": "y", "service": false}\nnoise')
    made = []
    create = kube.create

    def watched(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert not kube.items.get("pods"), "two pods at once"
        made.append(body["metadata"]["name"].rpartition("-")[2])
        return create(path, body)

    kube.create = watched  # type: ignore[method-assign]
    found = rows_of()
    assert found["image"] == ("pass", IMAGE, "", False)
    assert found["fetch x"] == ("pass", "y", "", False)
    steps = ["fetch", "tune", "train", "register"]
    assert list(found) == ["image", *(f"{step} x" for step in steps), "gone"]
    assert made[1:] == steps
    assert (kube.items["pods"], kube.items["persistentvolumeclaims"]) == ([], [])
    assert len(set(kube.deleted)) == 5


def test_a_pod_asks_as_its_command_says(kube: Cluster, checkout: Checkout, tmp_path: Path) -> None:
    checkout.run("dvc", "remote", "modify", "storage", "url", str(checkout.storage))
    checkout.commit()
    checkout.run("git", "push", "--quiet", "origin", "main")
    kube.kubelet = run_for_real(kube, tmp_path / "workspace")
    kube.items["events"] = []
    found = {name: result.status for name, result in rows_of().items()}
    # This machine knows no name of a cluster, and has fewer GPUs and less shared memory.
    assert found["fetch volume"] == found["fetch git"] == found["fetch data"] == "pass"
    assert found["fetch dns"] == found["tune mlflow"] == found["register mlflow"] == "fail"
    assert {"tune postgres", "tune gpu", "tune shm", "train gpu", "train shm"} <= set(found)
    assert not {"fetch pod", "tune pod", "train pod", "register pod"} & set(found)
    assert found["gone"] == "pass"
    assert not (tmp_path / "workspace").exists()


def test_what_argo_gives_is_what_the_pods_get(kube: Cluster, checkout: Checkout) -> None:
    seen = []

    def kubelet(pod: dict[str, Any]) -> tuple[Status, str]:
        seen.append(pod["spec"]["securityContext"])
        return {"phase": "Succeeded"}, ""

    kube.kubelet = kubelet
    rows_of()
    assert seen == [{"fsGroup": 10001, "fsGroupChangePolicy": "OnRootMismatch"}] * 4
    seen.clear()
    kube.forbidden = {"configmaps"}
    rows_of()
    assert seen == [{}] * 4


def unschedulable(_: dict[str, Any]) -> tuple[Status, str]:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    }
    return {"phase": "Pending", "conditions": [condition]}, ""


def test_a_pod_that_waits_says_why_and_makes_room_for_the_next(
    kube: Cluster, checkout: Checkout, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(probing, "_WAITING_SECONDS", 0.0)
    kube.items["events"] = []
    kube.kubelet = unschedulable
    found = rows_of()
    text = "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    assert list(found) == ["fetch pod", "tune pod", "train pod", "register pod", "gone"]
    assert found["tune pod"][:2] == ("fail", text)
    assert f"probe: the pod of tune waits: {text}\n" in capfd.readouterr().err
    assert kube.items["pods"] == []


def no_image(_: dict[str, Any]) -> tuple[Status, str]:
    waiting = {"reason": "ErrImagePull", "message": "ErrImagePull: no such image"}
    return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}, ""


def test_an_image_that_cannot_be_pulled_is_asked_for_once(
    kube: Cluster, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_WAITING_SECONDS", 0.0)
    kube.items["events"] = []
    kube.kubelet = no_image
    found = rows_of()
    assert list(found) == ["probe", "gone"]
    assert "the image cannot be pulled: ErrImagePull: " in found["probe"].found
    assert kube.items["pods"] == []


def test_a_container_that_dies_shows_its_last_line(kube: Cluster, checkout: Checkout) -> None:
    line = "No module named pipeline.kubeflow.probe_inside"
    state = {"terminated": {"exitCode": 1, "reason": "Error"}}
    status = {"phase": "Failed", "containerStatuses": [{"state": state}]}
    kube.kubelet = lambda _: (status, f"more\n{line}")
    found = rows_of()["fetch pod"]
    assert found == (
        "fail",
        f"Error, exit code 1: {line}",
        "build the image from this commit",
        False,
    )


def test_ctrl_c_and_a_refusal_leave_nothing(
    kube: Cluster, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    kube.items["events"] = []
    kube.kubelet = unschedulable
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.kubeflow.waiting.reasons", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rows_of()
    assert (kube.items["pods"], kube.items["persistentvolumeclaims"]) == ([], [])
    rows = probing.probe(IMAGE, None)
    kube.kubelet = says("")
    assert next(rows)[0] == "image"
    assert kube.items["persistentvolumeclaims"]
    rows.close()  # type: ignore[attr-defined]
    assert (kube.items["pods"], kube.items["persistentvolumeclaims"]) == ([], [])
    kube.refused = "exceeded quota: runs"
    found = rows_of()
    assert list(found) == ["probe", "gone"]
    assert (found["probe"].status, "exceeded quota: runs" in found["probe"].found) == ("fail", True)


@pytest.mark.parametrize("image", [IMAGE.replace("@sha256:", ":"), "x"])
def test_an_image_without_a_digest_makes_nothing(
    image: str, kube: Cluster, checkout: Checkout
) -> None:
    found = rows_of(image)
    assert list(found) == ["probe"]
    assert "is not pinned" in found["probe"].found
    assert kube.items == {}


def test_the_command_prints_the_rows_below_the_others(
    kube: Cluster, kfp: Kubeflow, checkout: Checkout, capfd: pytest.CaptureFixture[str]
) -> None:
    kube.kubelet = says('{"check": "git", "status": "fail", "found": "no", "service": true}')
    words = ["doctor", "--cluster", "--probe", "--image", IMAGE, "--endpoint", kfp.url]
    assert cli.main(words) == 5
    rows = capfd.readouterr().out.splitlines()
    assert "fail     fetch git       no" in rows
    assert rows[-1] == "pass     gone            nothing of the probe is left"
    assert kube.namespace == RUNS


@pytest.mark.parametrize("words", [["--probe"], ["--cluster", "--probe"], ["--image", IMAGE]])
def test_probe_needs_its_image(
    words: list[str], checkout: Checkout, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", *words]) == 2
    assert "--probe needs --cluster and --image" in capfd.readouterr().err
