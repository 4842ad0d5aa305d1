"""`submit --branch`, through the real SDK, against a server that speaks Kubeflow's API."""

import pytest

from pipeline import cli
from pipeline.kubeflow import follow
from tests.pipeline.checkout import Checkout
from tests.pipeline.kfp_server import RUN, Kubeflow, node
from tests.pipeline.kube_server import Cluster

IMAGE = f"registry.example.org/classifier@sha256:{'a' * 64}"


def submit(*words: str) -> int:
    return cli.main(["submit", *words])


def test_a_run_of_a_branch_has_no_settings_of_this_checkout(
    kfp: Kubeflow, kube: Cluster, checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = checkout.root / "params.yaml"
    settings.write_text(settings.read_text().replace("seed: 0", "seed: 1"))  # not committed
    words = ("--branch", "main", "--image", IMAGE, "--endpoint", kfp.url)
    assert submit(*words) == 0
    assert capsys.readouterr().out == f"run {RUN}: {kfp.url}/#/runs/details/{RUN} (branch main)\n"
    posted = kfp.posted["runs"]
    expected = {"repository": str(checkout.bare), "branch": "main"}
    assert posted["runtime_config"]["parameters"] == expected
    assert posted["display_name"] == "solar-cells main"
    reference = {"pipeline_id": "solar-cells", "pipeline_version_id": "branch"}
    assert posted["pipeline_version_reference"] == reference


def test_a_followed_run_says_that_nothing_was_new(
    kfp: Kubeflow,
    kube: Cluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "PAUSE_SECONDS", 0.02)
    kfp.looks = [("SUCCEEDED", [node("fetch-branch", "SUCCEEDED", 0, 20)])]
    said = "main (git 0123456789ab, data 0123456789ab): unchanged since its last verdict"
    kube.logs = {"fetch": f"[KFP Executor] begins\n{said}; nothing to do\n"}
    words = ("--branch", "main", "--image", IMAGE, "--endpoint", kfp.url, "--wait")
    assert submit(*words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"run {RUN}: succeeded; {said}; nothing to do"
    )


def test_every_makes_and_changes_a_recurring_run_and_never_removes_it(
    kfp: Kubeflow, kube: Cluster, checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--branch", "main", "--endpoint", kfp.url)
    for every in ("0 3 * * 1", "0 4 * * 1"):
        assert submit(*words, "--image", IMAGE, "--every", every) == 0
    (found,) = kfp.schedules
    assert found["display_name"] == "solar-cells main"
    assert found["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * 1"
    assert "runs" not in kfp.posted
    assert capsys.readouterr().out.splitlines()[-1] == (
        "solar-cells: Kubeflow runs the branch main at '0 4 * * 1' (its clock), and ends at once "
        f"where nothing is new; {kfp.url}/#/recurringruns"
    )
    for _ in range(2):
        assert submit(*words, "--every", "never") == 0
    assert kfp.schedules == []
    assert capsys.readouterr().out.splitlines() == [
        "solar-cells: the branch main is no longer run by itself",
        "solar-cells: the branch main was not run by itself; nothing to remove",
    ]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("--every", "0 3 * * 1", "--image", IMAGE), 2, "--every needs --branch"),
        (
            ("--branch", "main", "--every", "0 3 * * 1", "--image", IMAGE, "--wait"),
            2,
            "--every starts nothing now",
        ),
        (("--branch", "main", "--follow", RUN), 2, "say either --follow or --branch"),
        (("--branch", "main", "--every", "0 3 * * 1"), 2, "say either --image or --follow"),
        (("--branch", "main", "--every", "daily", "--image", IMAGE), 1, "--every 'daily': has 1"),
        (("--branch", "maim", "--image", IMAGE), 1, "has no branch 'maim'"),
        (
            ("--branch", "main", "--image", IMAGE, "--repository", "https://me:word@example.org"),
            1,
            "its URL holds a name or a password",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_and_starts_nothing(
    kfp: Kubeflow,
    checkout: Checkout,
    words: tuple[str, ...],
    code: int,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert submit(*words, "--endpoint", kfp.url) == code
    assert expected in capsys.readouterr().err
    assert kfp.posted == {}
    assert kfp.schedules == []
