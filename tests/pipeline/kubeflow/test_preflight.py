"""What `submit` asks of the cluster before it starts anything."""

import pytest

from pipeline import cli
from tests.pipeline.checkout import Checkout
from tests.pipeline.kfp_server import RUN, Kubeflow
from tests.pipeline.kube_server import RUNS, Cluster
from tests.pipeline.kubeflow.test_submit import IMAGE, refusal
from tests.pipeline.kubeflow.test_waiting import pod

WHERE = f"error: {RUNS} (kubectl's context test): "
OTHER = "or `kubectl config use-context NAME` if Kubeflow is in another cluster."


LOST = "logs of failed steps, and what steps wait for, will not be shown"


def start(kfp: Kubeflow, *words: str) -> int:
    return cli.main(["submit", "--image", IMAGE, "--endpoint", kfp.url, *words])


def use_claim(checkout: Checkout) -> None:
    file = checkout.root / "params.yaml"
    text = file.read_text()
    assert "workspace_claim: " in text
    file.write_text(text.replace("workspace_claim: ", "workspace_claim: workspace "))
    checkout.commit()
    checkout.run("git", "push", "--quiet", "origin", "main")


def test_a_namespace_without_the_account_of_runs_is_refused(
    kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    kube.names["serviceaccounts"] = ["default"]
    assert start(kfp) == 1
    assert refusal(capfd) == (
        f"{WHERE}lacks serviceaccount/pipeline-run; `kubectl apply -k "
        f"infra/kustomize/overlays/...`, {OTHER}\n"
    )
    assert kfp.posted == {}


def test_a_claim_that_params_yaml_names_must_be_there(
    checkout: Checkout, kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    use_claim(checkout)
    assert start(kfp) == 1
    assert refusal(capfd) == (
        f"{WHERE}lacks persistentvolumeclaim/workspace; `kubectl apply -k "
        f"infra/kustomize/workspace`, {OTHER}\n"
    )
    assert kfp.posted == {}
    kube.names["persistentvolumeclaims"] = ["workspace"]
    assert start(kfp) == 0


def test_a_context_of_another_cluster_is_refused(
    kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    stranger = pod("train")
    stranger["metadata"]["labels"]["pipeline/runid"] = "of-another-cluster"
    kube.items["pods"] = [stranger]
    assert start(kfp) == 1
    assert refusal(capfd) == (
        f"{WHERE}has pods of the run of-another-cluster, which Kubeflow Pipelines at {kfp.url} "
        "does not know: two clusters; `kubectl config use-context NAME`, or correct --endpoint.\n"
    )
    assert kfp.posted == {}
    kube.items["pods"].append(pod("train"))  # one that it knows
    assert pod("train")["metadata"]["labels"]["pipeline/runid"] == RUN
    assert start(kfp) == 0


def test_an_expired_login_of_kubectl_is_refused_or_said(
    kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    kube.expired = True
    assert start(kfp) == 1
    error = refusal(capfd)
    assert error.startswith("error: kubectl -n image-classification-runs get ")
    assert "; your login to the cluster has expired: sign in again" in error
    assert error.endswith(f"Or pass --no-kubectl; {LOST} then.\n")
    assert kfp.posted == {}
    assert start(kfp, "--no-kubectl") == 0
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("submit: warning: kubectl -n image-classification-runs get ")
    assert error.endswith(f"Without it {LOST}.\n")


@pytest.mark.usefixtures("checkout")
def test_no_context_is_refused_or_said(kfp: Kubeflow, capfd: pytest.CaptureFixture[str]) -> None:
    found = "kubectl: has no context; `kubectl config use-context NAME`."
    assert start(kfp) == 1
    assert refusal(capfd) == f"error: {found} Or pass --no-kubectl; {LOST} then.\n"
    assert kfp.posted == {}
    assert start(kfp, "--no-kubectl") == 0
    assert capfd.readouterr().err == f"submit: warning: {found} Without it {LOST}.\n"


@pytest.mark.parametrize("kind", ["pods", "serviceaccounts"])
def test_who_may_not_look_may_start_a_run(
    kind: str, kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    kube.forbidden.add(kind)
    assert start(kfp) == 0
    assert capfd.readouterr().err == ""


def test_a_kubeflow_of_one_user_is_looked_for_by_its_service(
    kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    kfp.multi_user, kube.namespace = False, "team-a"
    kube.names["serviceaccounts"] = []
    assert start(kfp) == 0  # nowhere to be seen: nothing is known
    kube.names["services"] = ["ml-pipeline"]
    capfd.readouterr()
    assert start(kfp) == 1
    expected = "error: team-a (kubectl's context test): lacks serviceaccount/pipeline-run; "
    assert refusal(capfd).startswith(expected)
