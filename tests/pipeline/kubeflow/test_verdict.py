"""What register's log says of a run that succeeded."""

from dataclasses import replace

import pytest

from pipeline.kubeflow import verdict
from pipeline.kubeflow.monitor import PipelineRun
from tests.pipeline.kfp_server import RUN
from tests.pipeline.kube_server import RUNS, Cluster

HEADLINE = "passed 0.931 accuracy on 322 test images (95 %: 0.902 to 0.955)"
REGISTERED = "register  registered: cells version 7, alias candidate\n"
INSIDE = "http://mlflow.image-classification.svc:5000"
PAGE = "#/models/cells/versions/7"
LOCAL = f"model: http://127.0.0.1:5000/{PAGE} while `kubectl -n "


def run(uri: str = INSIDE) -> PipelineRun:
    return PipelineRun(RUN, "SUCCEEDED", None, "", {}, (), tracking_uri=uri)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://mlflow.example.org/", f"model: https://mlflow.example.org/{PAGE}"),
        ("https://svc.example.org", f"model: https://svc.example.org/{PAGE}"),
        (
            INSIDE,
            f"{LOCAL}image-classification port-forward service/mlflow 5000` runs",
        ),
        (
            "http://mlflow.ml.svc.cluster.local",
            f"{LOCAL}ml port-forward service/mlflow 5000:80` runs",
        ),
        ("", ""),
    ],
)
def test_the_model_has_an_address_that_can_be_opened_from_here(
    uri: str, expected: str, kube: Cluster
) -> None:
    kube.logs["register"] = f"register  {HEADLINE}\n{REGISTERED}"
    assert verdict.read(RUNS, run(uri)) == (HEADLINE, expected)


@pytest.mark.parametrize("known", ["registered", "already registered"])
def test_a_version_that_was_there_before_is_the_model_as_well(known: str, kube: Cluster) -> None:
    kube.logs["register"] = f"register  {HEADLINE}\n{REGISTERED.replace('registered', known)}"
    assert PAGE in verdict.read(RUNS, run())[1]


def test_without_a_version_there_is_no_address(kube: Cluster) -> None:
    kube.logs["register"] = f"register  {HEADLINE}\n"
    assert verdict.read(RUNS, run()) == (HEADLINE, "")


def test_without_a_log_it_says_where_the_verdict_is(kube: Cluster) -> None:
    expected = ("its verdict: `python -m pipeline status`, or register's page", "")
    assert verdict.read(RUNS, run()) == expected
    kube.forbidden.add("pods")
    assert verdict.read(RUNS, replace(run(), run_id="x")) == expected
