"""infra/scripts/argo_defaults.sh on a stand-in of the cluster, with kubectl's own merge."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.io import params
from pipeline.kubeflow.resources import Params
from tests.pipeline import kube_server
from tests.pipeline.kube_server import Cluster

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "infra/scripts/argo_defaults.sh"
DEFAULTS = yaml.safe_load((ROOT / "infra/argo-defaults.yaml").read_text())["workflowDefaults"]

# As Kubeflow Pipelines 2.17 ships it, with what somebody added.
KUBEFLOW = """\
# a comment
spec:
  podGC: {strategy: OnPodCompletion}
  templateDefaults:
    retryStrategy:
      limit: 2
      retryPolicy: OnError
"""


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with kube_server.serve() as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.write_config(tmp_path / "kubeconfig")))
        monkeypatch.setenv("KUBECACHEDIR", str(tmp_path / "kubectl"))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        cluster.argo["workflowDefaults"] = KUBEFLOW
        yield cluster


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(SCRIPT), *words], capture_output=True, text=True, check=False)


def defaults_of(kube: Cluster) -> Any:
    return yaml.safe_load(kube.argo["workflowDefaults"])


def test_what_is_missing_is_shown_and_added_and_all_else_stays(kube: Cluster) -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    assert "-      retryPolicy: OnError\n" in done.stdout
    assert "+      retryPolicy: Always\n" in done.stdout
    assert "+      fsGroup: 10001\n" in done.stdout
    wanted = DEFAULTS["spec"]["templateDefaults"]
    assert defaults_of(kube) == {
        "spec": {
            "podGC": {"strategy": "OnPodCompletion"},
            "templateDefaults": {
                "securityContext": wanted["securityContext"],
                "retryStrategy": {"limit": 2, **wanted["retryStrategy"]},
            },
        }
    }
    assert kube.argo["executor"] == "imagePullPolicy: Always"
    paths = [path for path, _ in kube.patched]
    assert paths == [
        "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap",
        "/apis/apps/v1/namespaces/kubeflow/deployments/workflow-controller",
    ]
    assert "restartedAt" in str(kube.patched[1][1])
    assert run("check").returncode == 0


@pytest.mark.parametrize("before", ["", "{}", yaml.dump({"spec": {"priority": 1}})])
def test_a_second_time_changes_nothing(before: str, kube: Cluster) -> None:
    kube.argo["workflowDefaults"] = before
    assert run().returncode == 0
    once = kube.argo["workflowDefaults"]
    spec = {**(yaml.safe_load(before) or {}).get("spec", {}), **DEFAULTS["spec"]}
    assert yaml.safe_load(once) == {"spec": spec}
    kube.patched.clear()
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok: ")
    assert kube.argo["workflowDefaults"] == once
    assert kube.patched == []


def test_without_the_key_there_is_nothing_to_keep(kube: Cluster) -> None:
    del kube.argo["workflowDefaults"]
    assert run().returncode == 0
    assert defaults_of(kube) == DEFAULTS


def test_check_changes_nothing_and_fails_while_something_is_missing(kube: Cluster) -> None:
    done = run("check")
    assert done.returncode == 1
    assert "+      fsGroup: 10001\n" in done.stdout
    assert "in kubeflow lacks the lines with +" in done.stderr
    assert kube.patched == []
    assert kube.argo["workflowDefaults"] == KUBEFLOW


def test_where_no_controller_is_to_be_restarted_the_map_is_changed_all_the_same(
    kube: Cluster,
) -> None:
    kube.names["deployments"] = []
    assert run().returncode == 0
    assert len(kube.patched) == 1


def test_another_namespace_and_a_wrong_word(kube: Cluster) -> None:
    kube.argo_namespace = "flows"
    done = run("check")
    assert done.returncode == 1
    assert "not read in the namespace kubeflow; say that of Argo's controller" in done.stderr
    assert run("apply", "flows").returncode == 0
    assert run("check", "flows").returncode == 0
    done = run("repair")
    assert (done.returncode, "repair: is not an action" in done.stderr) == (2, True)


def test_a_text_that_is_no_yaml_is_left_alone(kube: Cluster) -> None:
    kube.argo["workflowDefaults"] = broken = "spec: {a: [}"
    done = run()
    assert done.returncode == 1
    assert kube.argo["workflowDefaults"] == broken
    assert kube.patched == []


def test_the_group_is_the_user_of_the_runs() -> None:
    context = DEFAULTS["spec"]["templateDefaults"]["securityContext"]
    assert context["fsGroup"] == params.load(ROOT / "params.yaml", Params).cluster.user
