"""The command, through the real SDK, against a server that speaks the API of Kubeflow Pipelines."""

import _thread
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.core.errors import PipelineError
from components.io import params
from pipeline import cli
from pipeline.kubeflow import client, compiler, connection, git_state, resources
from pipeline.kubeflow import follow as following
from tests.components.conftest import ROOT
from tests.pipeline.checkout import GIT, Checkout
from tests.pipeline.kfp_server import RUN, Kubeflow, node
from tests.pipeline.kube_server import Cluster
from tests.pipeline.kubeflow.test_failure import ended, launched
from tests.pipeline.kubeflow.test_waiting import unscheduled

IMAGE = f"registry.example.org/classifier@sha256:{'a' * 64}"
STEPS = ("fetch", "validate", "tune", "train", "evaluate", "register")
HEADLINE = "passed 0.931 accuracy on 322 test images (95 %: 0.902 to 0.955)"


@pytest.fixture(autouse=True)
def _no_pauses_and_no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.3)


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """compiler.compile_to, which takes a second, but equal inputs give the bytes of before."""
    compile_to = compiler.compile_to
    known: dict[str, Path] = {}

    def compile_or_copy(
        output: Path, root: Path, image: str, cluster: resources.ClusterParams
    ) -> None:
        key = f"{image} {cluster!r} {(root / 'params.yaml').read_text()}"
        if key not in known:
            file = tmp_path_factory.mktemp("known") / "pipeline.yaml"
            compile_to(file, root, image, cluster)
            known[key] = file
        shutil.copy(known[key], output)

    return compile_or_copy


@pytest.fixture(autouse=True)
def _compiled_once(compiled_once: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compile_to", compiled_once)


def run(*words: str) -> int:
    """`submit`; without a cluster for kubectl, it says so."""
    starts = "--image" in words
    unseen = ["--no-kubectl"] if starts and not Path(os.environ["KUBECONFIG"]).exists() else []
    return cli.main(["submit", *words, *unseen])


def start(kfp: Kubeflow, *words: str) -> int:
    return run("--image", IMAGE, "--endpoint", kfp.url, *words)


def compile_for(workers: int, folder: Path) -> dict[str, Any]:
    """The compiled pipeline, as the server keeps it."""
    cluster = params.load(ROOT / "params.yaml", resources.Params).cluster
    file = folder / "pipeline.yaml"
    compiler.compile_to(file, ROOT, IMAGE, cluster.model_copy(update={"workers": workers}))
    pipeline_spec, platform_spec = yaml.safe_load_all(file.read_text())
    return {"pipeline_spec": pipeline_spec, "platform_spec": platform_spec}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The pipeline without a loop."""
    return compile_for(1, tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def running(checkout: Checkout, kfp: Kubeflow, spec: dict[str, Any]) -> Kubeflow:
    """A server with a run that was started before."""
    kfp.spec = spec
    return kfp


def follow(kfp: Kubeflow) -> int:
    return run("--follow", RUN, "--endpoint", kfp.url)


def refusal(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def done(*names: str, second: int = 10) -> list[dict[str, Any]]:
    """The nodes of finished steps, with those that the server adds for itself."""
    nodes = [node("image-classification-x7x9l", "RUNNING"), node("root-driver", "SUCCEEDED", 0, 5)]
    for index, name in enumerate(names):
        begin = second * (index + 1)
        nodes.append(node(f"{name}-driver", "SUCCEEDED", begin, begin + 2))
        nodes.append(node(name, "SUCCEEDED", begin, begin + 9))
        nodes.append(node(f"executor#{name}", "SUCCEEDED", begin, begin + 9))
    return nodes


@pytest.fixture
def inner(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as a folder of a larger repository."""
    outer = tmp_path / "mono"
    shutil.copytree(checkout.root, outer / "ml/cat's", ignore=shutil.ignore_patterns(".git"))
    (outer / "readme").write_text("")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "all")):
        subprocess.run(["git", *words], cwd=outer, env={**os.environ, **GIT}, check=True)
    monkeypatch.chdir(outer / "ml/cat's")
    return outer


def test_a_project_in_a_folder_of_a_larger_repository_is_refused(
    inner: Path, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start(kfp) == 1
    error = refusal(capfd)
    assert "is the folder ml/cat's of a larger repository" in error
    assert """git subtree split --prefix='ml/cat'"'"'s'""" in error
    assert kfp.posted == {}


def test_changes_elsewhere_in_a_larger_repository_are_not_the_projects(inner: Path) -> None:
    (inner / "readme").write_text("changed")
    assert git_state.require_committed() == git_state.head()
    (inner / "ml/cat's/params.yaml").write_text("changed")
    with pytest.raises(PipelineError, match=r"params\.yaml differs from"):
        git_state.require_committed()


def test_a_run_is_started_with_the_pushed_commit_its_images_and_the_account_of_runs(
    checkout: Checkout, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start(kfp) == 0
    posted = kfp.posted["runs"]
    data_hash = yaml.safe_load(Path("data/images.dvc").read_text())["outs"][0]["md5"]
    given = posted["runtime_config"]["parameters"]
    sections = yaml.safe_load(Path("params.yaml").read_text())
    name = sections["register"]["model_name"]
    del sections["cluster"]
    assert {key: json.loads(given.pop(key)) for key in sections} == sections
    assert given == {
        "repository": str(checkout.bare),
        "revision": checkout.revision(),
        "data_hash": data_hash,
    }
    version = checkout.revision()[:12]
    reference = {"pipeline_id": name, "pipeline_version_id": version}
    assert posted["pipeline_version_reference"] == reference
    assert posted["display_name"] == f"{name} {version}"
    assert posted["service_account"] == "pipeline-run"
    assert posted["experiment_id"] == "e1"
    assert kfp.posted["experiments"]["namespace"] == "image-classification-runs"
    assert kfp.posted["experiments"]["display_name"] == name
    tasks = kfp.versions[version]["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    assert set(tasks) >= set(STEPS)
    assert not any(task["cachingOptions"].get("enableCache") for task in tasks.values())
    found = capfd.readouterr()
    assert found.out == (
        f"run {RUN}: {kfp.url}/#/runs/details/{RUN} "
        f"(git {checkout.revision()[:12]}, data {data_hash[:12]})\n"
    )
    assert "Traceback" not in found.err
    assert "details" not in found.err


def test_a_version_is_made_once_and_another_image_of_the_commit_is_another_version(
    checkout: Checkout, kfp: Kubeflow
) -> None:
    first, other = checkout.revision()[:12], IMAGE.replace("a" * 64, "b" * 64)
    assert start(kfp) == 0
    assert start(kfp) == 0
    assert list(kfp.versions) == [first]
    for _ in range(2):
        assert run("--image", other, "--endpoint", kfp.url) == 0
        made = kfp.versions[kfp.posted["runs"]["pipeline_version_reference"]["pipeline_version_id"]]
        digest = made["description"].rpartition(" ")[2]
        assert list(kfp.versions) == [first, f"{first}-{digest[:8]}"]
        assert made["display_name"] == f"{first}-{digest[:8]}"
    commit_without_push(checkout)
    checkout.run("git", "push", "--quiet", "origin", "main")
    assert start(kfp) == 0
    assert list(kfp.versions)[2:] == [checkout.revision()[:12]]
    assert len(kfp.pipelines) == 1


@pytest.mark.parametrize("lost", [1, 2])
def test_answers_that_are_lost_make_nothing_twice(
    lost: int, checkout: Checkout, kfp: Kubeflow
) -> None:
    kfp.lost = lost
    assert start(kfp) == 0
    posts = [path for path in kfp.asked if path.startswith("POST /apis/v2beta1/pipelines")]
    assert len(posts) == 2
    assert list(kfp.versions) == [checkout.revision()[:12]]


def test_somebody_who_was_faster_has_made_the_version(checkout: Checkout, kfp: Kubeflow) -> None:
    assert start(kfp) == 0
    made, hidden = dict(kfp.versions), kfp.versions
    kfp.versions = HiddenOnce(made)
    assert start(kfp) == 0
    assert kfp.versions == hidden


class HiddenOnce(dict[str, dict[str, Any]]):
    """Versions that the first look does not show."""

    looks = 0

    def items(self) -> Any:
        self.looks += 1
        return super().items() if self.looks > 1 else {}.items()


def test_what_is_started_is_what_compile_writes(
    checkout: Checkout, kfp: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start(kfp) == 0
    monkeypatch.undo()  # compiles anew
    monkeypatch.chdir(checkout.root)
    file = tmp_path / "compiled.yaml"
    assert cli.main(["compile", "--output", str(file), "--image", IMAGE]) == 0
    spec, platform = yaml.safe_load_all(file.read_text())
    posted = kfp.versions[checkout.revision()[:12]]["pipeline_spec"]
    assert posted["platform_spec"]["platforms"] == platform["platforms"]
    assert posted["pipeline_spec"]["deploymentSpec"] == spec["deploymentSpec"]


def test_a_server_of_one_user_is_asked_for_no_namespace(
    checkout: Checkout, kfp: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfp.multi_user = False
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp.url)
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://pages.example.org/pipeline")
    assert run("--image", IMAGE, "--experiment", "trial") == 0
    assert not kfp.posted["experiments"].get("namespace")
    assert kfp.posted["experiments"]["display_name"] == "trial"
    assert not any("namespace=image" in path for path in kfp.asked)


def test_the_address_of_the_pages_may_be_another(
    checkout: Checkout,
    kfp: Kubeflow,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://pages.example.org/pipeline/")
    assert start(kfp) == 0
    page = f"https://pages.example.org/pipeline/#/runs/details/{RUN}"
    assert page in capfd.readouterr().out


def test_a_token_comes_from_the_file_that_the_sdk_names(
    checkout: Checkout,
    kfp: Kubeflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    kfp.token = "secret-word"
    assert start(kfp) == 1
    assert "does not let you in (HTTP 401); write a token into a file" in refusal(capfd)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert start(kfp) == 1
    assert "there is no file" in refusal(capfd)
    (tmp_path / "token").write_text("old")
    assert start(kfp) == 1
    expected = f"(HTTP 401); the token in {tmp_path}/token (KF_PIPELINES_SA_TOKEN_PATH) may have"
    assert expected in refusal(capfd)
    (tmp_path / "token").write_text("secret-word")
    assert start(kfp) == 0


def change_tracked(checkout: Checkout) -> None:
    with (checkout.root / "params.yaml").open("a") as file:
        file.write("\n# changed\n")


def commit_without_push(checkout: Checkout) -> None:
    change_tracked(checkout)
    checkout.commit()


def remove_pointer(checkout: Checkout) -> None:
    checkout.run("git", "rm", "--quiet", "data/images.dvc")
    checkout.commit()


def forget_pointer(checkout: Checkout) -> None:
    checkout.run("git", "rm", "--quiet", "--cached", "data/images.dvc")
    (checkout.root / ".gitignore").write_text("images.dvc\n")
    checkout.run("git", "add", ".gitignore")
    checkout.run("git", "commit", "--quiet", "--message", "change")


def remove_storage(checkout: Checkout) -> None:
    checkout.run("dvc", "remote", "remove", "storage")
    checkout.commit()


def remove_origin(checkout: Checkout) -> None:
    checkout.run("git", "remote", "remove", "origin")


def misspell(checkout: Checkout) -> None:
    file = checkout.root / "params.yaml"
    file.write_text(file.read_text().replace("trials:", "trails:"))
    checkout.commit()


@pytest.mark.parametrize(
    ("fault", "message", "then"),
    [
        (change_tracked, "params.yaml differs from", "git commit -a"),
        (commit_without_push, "does not have the revision", "git push"),
        (remove_pointer, "data/images.dvc: does not exist", "dvc add data/images"),
        (forget_pointer, "data/images.dvc: is not in git", "git add data/images.dvc"),
        (remove_storage, ".dvc/config: names no default remote", "dvc remote add --default"),
        (remove_origin, "there is no remote `origin`", "--repository URL"),
        (misspell, "tune.num_trails is not a setting", "tune.num_trials"),
    ],
)
def test_a_checkout_that_a_cluster_could_not_fetch_is_refused_before_the_server_is_asked(
    fault: Any,
    message: str,
    then: str,
    checkout: Checkout,
    kfp: Kubeflow,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fault(checkout)
    assert start(kfp) == 1
    error = refusal(capfd)
    assert message in error
    assert then in error
    assert kfp.asked == []


def test_a_commit_behind_the_tip_of_a_branch_is_pushed_too(
    checkout: Checkout, kfp: Kubeflow
) -> None:
    first = checkout.revision()
    commit_without_push(checkout)
    checkout.run("git", "push", "--quiet", "origin", "main")
    checkout.run("git", "checkout", "--quiet", "--detach", first)
    assert start(kfp) == 0
    assert kfp.posted["runs"]["runtime_config"]["parameters"]["revision"] == first


def test_untracked_files_are_nobody_s_business(checkout: Checkout, kfp: Kubeflow) -> None:
    (checkout.root / "notes.txt").write_text("mine")
    assert start(kfp) == 0


def test_another_repository_is_asked_instead_of_origin(
    checkout: Checkout, kfp: Kubeflow, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert start(kfp, "--repository", str(tmp_path / "nowhere.git")) == 5
    assert "or pass --repository" in refusal(capfd)
    subprocess.run(["git", "clone", "-q", "--bare", ".", tmp_path / "mirror.git"], check=True)
    assert start(kfp, "--repository", str(tmp_path / "mirror.git")) == 0
    given = kfp.posted["runs"]["runtime_config"]["parameters"]["repository"]
    assert given == str(tmp_path / "mirror.git")


def test_a_password_in_the_repository_s_address_is_refused_and_not_shown(
    checkout: Checkout, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start(kfp, "--repository", "https://ann:pass-word@git.example.org/x.git") == 1
    error = refusal(capfd)
    assert "holds a name or a password" in error
    assert "pass-word" not in error


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ([], "no address; pass --endpoint URL or set KF_PIPELINES_ENDPOINT"),
        (["--endpoint", "kfp.example.org"], "is no address; it should be http(s)://HOST:PORT"),
        (["--endpoint", "http://a:b@kfp"], "without a password"),
    ],
)
def test_without_a_right_address_the_next_command_is_printed(
    endpoint: list[str], message: str, checkout: Checkout, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--image", IMAGE, *endpoint) == 1
    assert message in refusal(capfd)


def test_a_server_that_is_not_there_is_a_service_that_did_not_answer(
    checkout: Checkout, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--image", IMAGE, "--endpoint", "http://127.0.0.1:9") == 5
    assert "does not answer (Connection refused)" in refusal(capfd).replace("[Errno 111] ", "")
    kfp.broken = True
    assert start(kfp) == 5
    assert "HTTP 503" in refusal(capfd)


def test_a_login_page_is_not_taken_for_a_server(
    checkout: Checkout, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    kfp.page = b"<html>Log in to Your Account</html>"
    assert start(kfp) == 1
    assert "answers, but not as Kubeflow Pipelines" in refusal(capfd)


def test_what_the_server_says_against_a_run_is_passed_on(
    kube: Cluster, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    kfp.refusal = {"error": "x", "message": "Invalid input error: no such service account\nat"}
    assert start(kfp) == 1
    assert "refuses (HTTP 400: Invalid input error: no such service account)" in refusal(capfd)


def test_a_run_is_followed_from_change_to_change_to_its_verdict(
    checkout: Checkout, kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    kube.logs["register"] = (
        f"reading\nregister  cells version 1: {HEADLINE}\nreport: x.html\n"
        "register  registered: cells version 1, alias candidate\n"
    )
    kfp.looks = [
        ("PENDING", []),
        ("RUNNING", [*done(), node("fetch-driver", "RUNNING", 10)]),
        ("RUNNING", [*done(), node("fetch", "RUNNING", 10)]),
        ("RUNNING", [*done(), node("fetch", "RUNNING", 10)]),
        ("RUNNING", [*done("fetch"), node("validate", "PENDING", None)]),
        ("RUNNING", [*done("fetch"), node("validate", "RUNNING", 20)]),
        ("SUCCEEDED", done(*STEPS)),
    ]
    assert start(kfp, "--wait") == 0
    first, *lines, last, link = capfd.readouterr().out.splitlines()
    assert link == (
        "model: http://127.0.0.1:5000/#/models/cells/versions/1 while "
        "`kubectl -n image-classification port-forward service/mlflow 5000` runs"
    )
    assert first.startswith(f"run {RUN}: ")
    assert lines == [
        "    0:10  fetch          running",
        "    0:19  fetch          succeeded after 0:09",
        "    0:20  validate       running",
        "    0:29  validate       succeeded after 0:09",
        "    0:39  tune           succeeded after 0:09",
        "    0:49  train          succeeded after 0:09",
        "    0:59  evaluate       succeeded after 0:09",
        "    1:09  register       succeeded after 0:09",
    ]
    assert last == f"run {RUN}: succeeded; {HEADLINE}"


@pytest.mark.parametrize("namespace", ["kubeflow", "team-a"])
def test_the_verdict_is_read_wherever_a_kubeflow_of_one_user_lives(
    namespace: str, running: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    running.multi_user, kube.namespace = False, namespace
    kube.logs["register"] = f"register  cells version 1: {HEADLINE}\n"
    running.looks = [("SUCCEEDED", done(*STEPS))]
    assert follow(running) == 0
    assert capfd.readouterr().out.endswith(f"succeeded; {HEADLINE}\n")
    assert f"/api/v1/namespaces/{namespace}/pods" in kube.asked


def test_a_user_who_may_not_look_everywhere_is_told_of_the_usual_place(
    running: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    running.multi_user = False
    kube.forbidden.add("pods")
    running.looks = [("FAILED", [node("train", "FAILED", 20, 25)])]
    assert follow(running) == 1
    assert "kubectl -n kubeflow logs -l pipeline/runid=" in capfd.readouterr().err


def test_without_a_cluster_to_ask_it_says_where_the_verdict_is(
    running: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    running.looks = [("SUCCEEDED", done(*STEPS))]
    assert follow(running) == 0
    assert "its verdict: `python -m pipeline status`" in capfd.readouterr().out


def test_what_a_step_waits_for_is_printed_while_it_waits(
    running: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    kube.items["pods"] = [unscheduled("train", message)]
    waits = ("RUNNING", [*done("fetch"), node("train", "RUNNING", 20)])
    running.looks = [waits, waits, ("SUCCEEDED", done("fetch", "train"))]
    assert follow(running) == 0
    assert capfd.readouterr().out.splitlines()[1:4] == [
        "    0:20  train          running",
        f"          train          waits: Unschedulable: {message}",
        "    0:29  train          succeeded after 0:09",
    ]


def test_a_failed_step_is_named_with_its_error_and_its_own_last_lines(
    running: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    kube.logs["validate"] = launched(
        "".join(f"line {n}\n" for n in range(40)) + "error: bad data\n"
    )
    failed = [node("validate", "FAILED", 20, 25), node("executor#v", "FAILED", 20, 25)]
    running.looks = [("FAILED", [*done("fetch"), *failed])]
    running.error = "main: Error (exit code 1)"
    assert follow(running) == 1
    found = capfd.readouterr()
    assert "    0:25  validate       failed after 0:05\n" in found.out
    rest = "evaluate, register, train, tune"
    where = f"{running.url}/#/runs/details/{RUN}"
    command = "kubectl -n image-classification-runs logs pod-validate -c main --tail=500"
    assert found.err.splitlines() == [
        f"last lines of validate ({command}):",
        *(f"line {n}" for n in range(11, 40)),
        "error: bad data",
        "validate: exit status 1, attempt 1 of 3; a refusal is not retried",
        f"error: run {RUN}: validate failed (bad data); not run: {rest}; {where}",
    ]


@pytest.mark.row("R09")
def test_a_step_that_ran_out_of_memory_says_so_in_the_error(
    running: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    kube.logs["train"] = "epoch 1\n"
    kube.ends["train"] = ended(137, "OOMKilled")
    running.looks = [("FAILED", [*done("fetch"), node("train", "FAILED", 20, 25)])]
    assert follow(running) == 1
    *_, before, last = capfd.readouterr().err.splitlines()
    assert before.startswith("train: exit status 137 (OOMKilled), attempt 1 of 3; not retried: ")
    assert f"run {RUN}: train failed (OOMKilled); not run: " in last


def test_without_a_log_the_command_that_shows_it_is_printed(
    running: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    running.looks = [("FAILED", [node("train", "FAILED", 20, 25)])]
    assert follow(running) == 1
    error = capfd.readouterr().err
    assert "kubectl -n image-classification-runs logs -l pipeline/runid=" in error
    assert "Traceback" not in error


def test_a_driver_that_fails_names_its_step_and_the_server_s_reason(
    running: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    running.looks = [("FAILED", [node("fetch-driver", "FAILED", 3, 4), node("fetch", "SKIPPED")])]
    running.error = "cannot create the workspace:\n no such storage class"
    assert follow(running) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert "fetch-driver failed (cannot create the workspace: no such storage class)" in last


def test_a_canceled_run_has_not_succeeded(
    running: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    running.looks = [("CANCELED", [])]
    assert follow(running) == 1
    assert f"run {RUN}: ended as canceled" in refusal(capfd)


def test_each_worker_of_a_loop_is_shown_and_the_loop_s_own_tasks_are_not(
    kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kfp.spec = compile_for(4, tmp_path)
    kube.logs["tune"] = "error: out of memory\n"  # the workers of tune have its label
    around = [
        node("for-loop-1-driver", "SUCCEEDED", 10, 11),
        node("for-loop-1", "RUNNING", 10),
        node("for-loop-1-iterations(0:0)", "RUNNING", 10),
        node("iteration-item", "RUNNING", 10),
        node("tune-worker-driver#a", "SUCCEEDED", 11, 12),
    ]
    started = [node("validate", "SUCCEEDED", 1, 9), node("tune", "RUNNING", 10), *around]
    two = [node("tune-worker", "RUNNING", 12), node("tune-worker", "RUNNING", 13)]
    three = [
        node("tune-worker", "SUCCEEDED", 12, 30),
        node("tune-worker", "FAILED", 13, 20),
        node("tune-worker", "SUCCEEDED", 14, 40),
    ]
    kfp.looks = [("RUNNING", [*started, *two]), ("FAILED", [*started, *three])]
    assert follow(kfp) == 1
    found = capfd.readouterr()
    assert found.out.splitlines() == [
        "    0:09  validate       succeeded after 0:08",
        "    0:10  tune           running",
        "    0:12  tune-worker    running",
        "    0:13  tune-worker 2  running",
        "    0:20  tune-worker 2  failed after 0:07",
        "    0:30  tune-worker    succeeded after 0:18",
        "    0:40  tune-worker 3  succeeded after 0:26",
    ]
    assert "logs pod-tune -c main" in found.err
    assert f"run {RUN}: tune-worker failed (out of memory);" in found.err
    assert kfp.posted == {}


def test_a_server_that_stops_answering_ends_the_wait_and_not_the_run(
    kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    kfp.looks = [("RUNNING", [node("fetch", "RUNNING", 10)])]
    kfp.after[2] = lambda: setattr(kfp, "broken", True)
    assert follow(kfp) == 5
    error = refusal(capfd)
    assert "the run goes on" in error
    assert f"python -m pipeline submit --follow {RUN} --endpoint {kfp.url}" in error


def test_rights_that_end_while_a_run_is_followed_do_not_end_the_run(
    running: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    running.looks = [("RUNNING", [])]
    running.after[2] = lambda: setattr(running, "token", "a new one")
    assert follow(running) == 1
    error = refusal(capfd)
    assert "HTTP 401" in error
    assert "the run goes on. Follow it: python -m pipeline submit --follow" in error


def test_a_server_that_never_answers_is_not_waited_for(
    checkout: Checkout,
    kfp: Kubeflow,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(connection, "_SECONDS", 0.3)
    kfp.answering.clear()
    assert start(kfp) == 5
    assert "does not answer (no answer in 0.3 s)" in refusal(capfd)


def test_a_start_without_an_answer_may_have_happened(
    kube: Cluster,
    kfp: Kubeflow,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(client, "_START_SECONDS", 0.3)
    kfp.slow_path = "/apis/v2beta1/runs"
    kfp.answering.clear()
    assert start(kfp) == 5
    assert f"The run may have started: look at {kfp.url}/#/runs before" in refusal(capfd)


def test_ctrl_c_before_the_answer_says_that_the_run_may_have_started(
    kube: Cluster, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        _thread.interrupt_main()
        time.sleep(1)

    kfp.after[0] = interrupt
    assert start(kfp) == 130
    assert f"The run may have started: look at {kfp.url}/#/runs before" in refusal(capfd)


def test_a_login_page_instead_of_the_new_run_is_no_run(
    kube: Cluster, kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    kfp.page_path, kfp.page = "/apis/v2beta1/runs", b"<html>Session expired</html>"
    assert start(kfp) == 1
    assert "answers, but not as Kubeflow Pipelines" in refusal(capfd)


class Clock:
    """A clock that goes on while somebody sleeps, and at no other time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.then: dict[float, Callable[[], object]] = {}

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.then.pop(self.seconds, bool)()


def test_a_short_outage_is_waited_for(
    kfp: Kubeflow, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(following, "time", clock)
    monkeypatch.setattr(following, "PAUSE_SECONDS", 10.0)
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 60.0)
    kfp.looks = [("RUNNING", [])]

    def end() -> None:
        kfp.looks, kfp.broken = [("SUCCEEDED", [])], False

    # A run that is followed for longer than the patience does not use it up.
    clock.then = {100.0: lambda: setattr(kfp, "broken", True), 150.0: end}
    assert follow(kfp) == 0
    assert clock.seconds == 150
    found = capfd.readouterr()
    _, silent, again, _ = found.out.splitlines()
    assert silent.startswith(f"submit: Kubeflow Pipelines at {kfp.url} fails (HTTP 503")
    assert silent.endswith("The run goes on; asking again for up to 1:00.")
    assert again == "submit: Kubeflow answers again after 1:00."
    assert found.err == ""


def test_a_run_that_the_server_does_not_know_is_the_user_s_mistake(
    kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--follow", "another", "--endpoint", kfp.url) == 1
    error = refusal(capfd)
    assert "refuses (HTTP 404: not found)" in error
    assert "goes on" not in error


def test_ctrl_c_detaches_and_says_how_to_follow_again(
    kfp: Kubeflow, capfd: pytest.CaptureFixture[str]
) -> None:
    kfp.looks = [("RUNNING", [])]
    kfp.after[2] = _thread.interrupt_main
    assert follow(kfp) == 130
    error = capfd.readouterr().err
    again = f"python -m pipeline submit --follow {RUN} --endpoint {kfp.url}"
    assert error == f"submit: detached; the run goes on. Follow it again: {again}\n"
    assert not any("terminate" in path for path in kfp.asked)


def test_to_start_and_to_follow_exclude_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--image", IMAGE, "--follow", RUN]):
        assert run(*words) == 2
