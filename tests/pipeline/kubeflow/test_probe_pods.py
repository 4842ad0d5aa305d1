"""The pods of a probe are those of a run: whatever params.yaml says of a step reaches its pod."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.core.errors import PipelineError
from pipeline.kubeflow import compiler
from pipeline.kubeflow.probe_pods import Pods
from pipeline.kubeflow.resources import ClusterParams
from tests.components.conftest import ROOT
from tests.pipeline.kubeflow.test_compiler import CLUSTER, IMAGE

GIVES = {"fsGroup": 1234, "fsGroupChangePolicy": "OnRootMismatch"}
STEPS = ("fetch", "validate", "tune", "train", "evaluate", "register")


def compiled(folder: Path, **changes: Any) -> Path:
    output = folder / "pipeline.yaml"
    cluster = ClusterParams.model_validate({**CLUSTER, **changes})
    compiler.compile_to(output, ROOT, IMAGE, cluster)
    return output


def make(folder: Path, step: str, **changes: Any) -> dict[str, Any]:
    return Pods(compiled(folder, **changes), "probe-1", GIVES).make(step, ["true"])


def test_the_pod_of_tune_has_everything_that_section_cluster_says(tmp_path: Path) -> None:
    gpu = {"resource": "amd.com/gpu", "node_selector": {"pool": "gpu"}, "taint": "amd.com/gpu"}
    assert make(tmp_path, "tune", gpu=gpu) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "probe-1-tune",
            "namespace": "image-classification-runs",
            "labels": {
                "pipelines.kubeflow.org/v2_component": "true",
                "pipeline-step": "tune",
                "pipeline-probe": "probe-1",
            },
        },
        "spec": {
            "serviceAccountName": "pipeline-run",
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 600,
            "terminationGracePeriodSeconds": 1,
            "securityContext": GIVES,
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "command": ["true"],
                    "env": [
                        {"name": "HOME", "value": "/tmp"},
                        {"name": "MLFLOW_TRACKING_URI", "value": "https://mlflow.example.org"},
                        secret_variable("MLFLOW_TRACKING_USERNAME", "client", "username"),
                        secret_variable("MLFLOW_TRACKING_PASSWORD", "client", "password"),
                        secret_variable("OPTUNA_STORAGE", "optuna", "uri"),
                    ],
                    "resources": {
                        "requests": {"cpu": "0.5", "memory": "1Gi"},
                        "limits": {"cpu": "1", "memory": "1536Mi", "amd.com/gpu": "1"},
                    },
                    "securityContext": {
                        "runAsUser": 1234,
                        "runAsGroup": 1234,
                        "runAsNonRoot": True,
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "shared-memory", "mountPath": "/dev/shm"},
                        {"name": "ca", "mountPath": "/ca"},
                        {"name": "workspace", "mountPath": "/kfp-workspace"},
                    ],
                }
            ],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
                {"name": "ca", "secret": {"secretName": "ca"}},
                {"name": "workspace", "persistentVolumeClaim": {"claimName": "probe-1"}},
            ],
        },
    }


def secret_variable(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


@pytest.mark.parametrize(
    ("step", "secrets"),
    [
        ("fetch", ["storage", "git-reader"]),
        ("validate", []),
        ("tune", ["client", "optuna"]),
        ("train", ["client"]),
        ("evaluate", ["client"]),
        ("register", ["promoter"]),
    ],
)
def test_each_step_has_its_label_and_its_secrets_and_no_others(
    step: str, secrets: list[str], tmp_path: Path
) -> None:
    pod = make(tmp_path, step, repository_secret="git-reader")
    assert pod["metadata"]["labels"]["pipeline-step"] == step
    environment = pod["spec"]["containers"][0]["env"]
    keys = [each["valueFrom"]["secretKeyRef"]["name"] for each in environment if len(each) > 1
            and "valueFrom" in each]  # fmt: skip
    assert list(dict.fromkeys(keys)) == secrets


def test_the_claim_is_that_of_a_run(tmp_path: Path) -> None:
    pods = Pods(compiled(tmp_path), "probe-1", GIVES)
    assert pods.workspace == "/kfp-workspace"
    assert pods.claim == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "probe-1",
            "namespace": "image-classification-runs",
            "labels": {"pipeline-probe": "probe-1"},
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "10Gi"}},
        },
    }


def test_a_standing_volume_is_mounted_where_a_run_has_it_and_not_made(tmp_path: Path) -> None:
    pods = Pods(compiled(tmp_path, workspace_claim="workspace"), "probe-1", {})
    assert (pods.claim, pods.workspace) == (None, "/workspace/runs/probe-1")
    for step in STEPS:
        spec = pods.make(step, ["true"])["spec"]
        claim = {"name": "workspace", "persistentVolumeClaim": {"claimName": "workspace"}}
        assert claim in spec["volumes"]
        mounts = spec["containers"][0]["volumeMounts"]
        assert {"name": "workspace", "mountPath": "/workspace"} in mounts


def test_what_the_graph_says_and_is_not_known_here_is_refused(tmp_path: Path) -> None:
    file = compiled(tmp_path)
    pipeline, platform = yaml.safe_load_all(file.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors["exec-train"]["imagePullSecret"] = [{"secretName": "registry"}]
    file.write_text(yaml.safe_dump_all([pipeline, platform]))
    pods = Pods(file, "probe-1", {})
    pods.make("fetch", ["true"])
    with pytest.raises(PipelineError, match="does not know imagePullSecret of the compiled"):
        pods.make("train", ["true"])
