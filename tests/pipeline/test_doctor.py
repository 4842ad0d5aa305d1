"""Every check of `doctor` passes on a healthy project, and is shown to notice its fault."""

import contextlib
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import cli, doctor
from pipeline.cli.common import check_params
from pipeline.doctor import check as check_module
from pipeline.doctor import cluster, costs, forecast, local
from pipeline.doctor.check import Check, CheckResult, at_least, run_check
from tests.components.conftest import write_params
from tests.pipeline import kfp_server
from tests.pipeline.checkout import Checkout
from tests.pipeline.kfp_server import Kubeflow
from tests.pipeline.kube_server import Cluster

ALL_HERE = local.checks(lambda: None) | forecast.checks() | costs.checks()

DEAD = "http://127.0.0.1:9"


def look(check: Check) -> tuple[str, str]:
    """Status, and what was found with what is to be done."""
    found = run_check(check)
    return found.status, f"{found.found} {found.hint}"


def change(checkout: Checkout, **changes: object) -> None:
    settings = {name.replace("__", "."): value for name, value in changes.items()}
    write_params(checkout.root / "params.yaml", settings)


def test_a_healthy_project_on_a_healthy_cluster_has_nothing_to_fix(
    checkout: Checkout, kfp: Kubeflow, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch  # noqa: F401 - on a busy machine this alone takes longer than a check may

    assert cli.main(["doctor", "--cluster", "--endpoint", kfp.url]) == 0
    found = capfd.readouterr()
    rows = {line[9:22].strip(): line[:9].strip() for line in found.out.splitlines()}
    everything = ALL_HERE | cluster.checks(None)
    # one image, of one class, and the settings of the sample; others may keep the cores busy
    unknown = {"its mlflow": "skipped", "cost": "skipped", "advice": "skipped"}
    expected = unknown | {"sample": "warn", "gate": "warn", "cores": rows["cores"]}
    assert rows == dict.fromkeys(everything, "pass") | expected
    assert found.err == ""
    assert kfp.posted == {}


def test_doctor_changes_nothing(checkout: Checkout) -> None:
    before = sorted(path for path in checkout.root.rglob("*") if ".git" not in path.parts)
    for name, check in (local.checks(lambda: None) | forecast.checks()).items():
        if name != "device":  # slow, and tried below
            run_check(check)
    after = sorted(path for path in checkout.root.rglob("*") if ".git" not in path.parts)
    assert before == after


def test_without_a_cluster_it_asks_nobody(
    checkout: Checkout, kube: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("data/images")
    assert cli.main(["doctor"]) == 1
    assert (
        "fail     data         data/images: does not exist  -> dvc pull" in capfd.readouterr().out
    )
    assert kube.asked == []


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([CheckResult("pass", ""), CheckResult("warn", ""), CheckResult("skipped", "")], 0),
        ([CheckResult("pass", ""), CheckResult("fail", "", service=True)], 5),
        ([CheckResult("fail", "", service=True), CheckResult("fail", "")], 1),
    ],
)
def test_the_exit_code_tells_a_fault_here_from_a_service_that_does_not_answer(
    findings: list[CheckResult], code: int
) -> None:
    checks: dict[str, Check] = {str(n): lambda f=f: f for n, f in enumerate(findings)}  # type: ignore[misc]
    results = [result for _, result in doctor.diagnose(checks)]
    assert doctor.exit_code(results) == code


def test_a_broken_check_is_a_failure_and_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> CheckResult:
        raise ZeroDivisionError("of\nlines")

    found = dict(doctor.diagnose({"broken": broken, "next": lambda: CheckResult("pass", "here")}))
    assert found["broken"].status == "fail"
    assert found["broken"].found == "the check itself failed (ZeroDivisionError: of)"
    assert found["broken"].hint == "please report it"
    assert found["next"] == CheckResult("pass", "here")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_json_holds_every_check(checkout: Checkout, capfd: pytest.CaptureFixture[str]) -> None:
    import torch  # noqa: F401 - on a busy machine this alone takes longer than a check may

    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [row["check"] for row in found] == [*ALL_HERE]
    wanting = {row["check"]: row["status"] for row in found if row["status"] != "pass"}
    wanting.pop("cores", None)  # others may keep them busy
    unknown = {"cost": "skipped", "advice": "skipped"}  # one image, of one class
    assert wanting == unknown | {"sample": "warn", "gate": "warn"}  # the sample's settings
    assert set(found[0]) == {"check", "status", "found", "hint", "service"}


def test_a_slow_check_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "TIMEOUT_SECONDS", 0.1)
    released, ended = threading.Event(), threading.Event()

    def slow() -> CheckResult:
        released.wait(60)
        ended.set()
        return CheckResult("pass", "")

    assert look(slow)[0] == "skipped"
    assert not ended.is_set()
    released.set()


@pytest.mark.parametrize(
    ("found", "enough"),
    [
        ("2.18.1", True),
        ("v2.20.0", True),
        ("10.0.0", True),
        ("2.18.0", False),
        ("2.9.9", False),
        ("", False),
        ("master", False),
    ],
)
def test_versions_are_compared_as_numbers_and_an_unknown_one_is_too_old(
    found: str, enough: bool
) -> None:
    assert at_least(found, "2.18.1") is enough


def test_an_old_interpreter_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(local.python)[0] == "pass"
    monkeypatch.setattr(local, "_MIN_PYTHON", (9, 1))
    status, text = look(local.python)
    assert status == "fail"
    assert "9.1 is needed make PYTHON=python9.1 install" in text


def test_packages_other_than_the_locked_ones_fail(checkout: Checkout) -> None:
    lock = checkout.root / "requirements.lock"
    assert look(local.packages)[0] == "pass"
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("pytest==")]
    lock.write_text("\n".join(["pytest==0.1", *lines]))
    status, text = look(local.packages)
    assert status == "fail"
    assert "(locked: 0.1) make install" in text
    lock.write_text("pytest==0.1 ; python_full_version < '3.12' \\\nnowhere-to-be-found==1.0\n")
    assert look(local.packages)[0] == "fail"
    lock.write_text("nowhere-to-be-found==1.0\n")
    assert "0 as in requirements.lock, 1 not installed" in look(local.packages)[1]
    lock.unlink()
    assert look(local.packages)[0] == "skipped"


def test_a_package_that_was_built_for_this_machine_is_the_locked_one(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anything-1.0.dist-info").mkdir()
    about = "Metadata-Version: 2.1\nName: anything\nVersion: 1.0+cpu\n"
    (tmp_path / "anything-1.0.dist-info/METADATA").write_text(about)
    monkeypatch.syspath_prepend(tmp_path)
    (checkout.root / "requirements.lock").write_text("anything==1.0 \\\n")
    assert look(local.packages)[1].startswith("1 as in requirements.lock")


def test_a_changed_checkout_and_a_missing_one_warn(checkout: Checkout, tmp_path: Path) -> None:
    change(checkout, training__seed=1)
    status, text = look(local.git)
    assert (status, "params.yaml differs from" in text) == ("warn", True)
    os.chdir(tmp_path)
    assert look(local.git)[0] == "warn"


def test_wrong_settings_fail_once_and_what_depends_on_them_is_skipped(checkout: Checkout) -> None:
    text = (checkout.root / "params.yaml").read_text()
    (checkout.root / "params.yaml").write_text(text.replace("cache_gib:", "cash_gib:"))
    status, text = look(lambda: local.settings(check_params))
    assert status == "fail"
    assert "data.cash_gib is not a setting" in text
    assert look(local.disk)[0] == "skipped"


def test_images_other_than_the_recorded_ones_warn(checkout: Checkout) -> None:
    assert look(local.data)[0] == "pass"
    extra = checkout.root / "data/images/cat/2.png"
    extra.write_bytes(b"12345")
    status, text = look(local.data)
    assert status == "warn"
    assert "2 files" in text
    assert "data/images.dvc has 1 files" in text
    extra.unlink()
    (checkout.root / "data/images.dvc").unlink()
    status, text = look(local.data)
    assert (status, "data/images.dvc: does not exist" in text) == ("warn", True)
    shutil.rmtree(checkout.root / "data/images")
    assert look(local.data)[0] == "fail"


def test_what_dvc_ignores_is_not_counted(checkout: Checkout) -> None:
    (checkout.root / "data/images/cat/.DS_Store").write_bytes(b"x")
    assert look(local.data)[0] == "pass"


def test_a_link_that_dvc_would_follow_fails_and_is_named(checkout: Checkout) -> None:
    assert look(local.links)[0] == "pass"
    link = checkout.root / "data/images/cat/2.png"
    link.symlink_to("/etc/passwd")
    status, text = look(local.links)
    assert (status, "cat/2.png -> /etc/passwd" in text) == ("fail", True)
    link.unlink()
    link.symlink_to(checkout.root / f".dvc/cache/files/md5/ab/{'0' * 30}")
    status, text = look(local.links)
    assert (status, "cat/2.png dvc checkout" in text) == ("fail", True)
    assert "cache.type is symlink, and 1 link of DVC" in text


def test_a_repository_that_dvc_was_told_to_ignore_warns(checkout: Checkout) -> None:
    assert look(local.git)[0] == "pass"
    checkout.run("dvc", "config", "--local", "core.no_scm", "true")
    status, text = look(local.git)
    assert (status, "dvc config --local --unset core.no_scm" in text) == ("warn", True)


def test_too_little_room_for_decoded_pixels_warns(checkout: Checkout) -> None:
    change(checkout, data__cache_gib=60_000.0)
    status, text = look(local.disk)
    assert (status, "data.cache_gib is 60000" in text) == ("warn", True)


def test_a_full_disk_fails(checkout: Checkout, small_disk: Path) -> None:
    shutil.copy("params.yaml", small_disk)
    with contextlib.chdir(small_disk):  # nobody may stay there when it is unmounted
        assert look(local.disk)[0] == "fail"


def test_a_folder_that_cannot_be_written_fails(checkout: Checkout) -> None:
    assert look(local.folders)[0] == "pass"
    (checkout.root / "artifacts").write_text("a file in the way")
    status, text = look(local.folders)
    assert (status, text) == ("fail", "artifacts: Not a directory make it writable")


def test_a_gpu_that_is_requested_and_missing_fails(checkout: Checkout) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("has a GPU")
    assert "cpu (" in look(local.device)[1]
    change(checkout, training__device="cuda")
    status, text = look(local.device)
    assert (status, "no usable GPU was found" in text) == ("fail", True)


def test_more_threads_than_cpus_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert look(local.num_threads)[0] == "pass"
    monkeypatch.setenv("OMP_NUM_THREADS", "9999")
    assert look(local.num_threads)[0] == "warn"


@pytest.fixture
def mlflow_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that says only its version, as MLflow does at /version."""
    with kfp_server.serve() as server:
        server.page = b"3.17.2"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield server


def test_mlflow_is_checked_by_its_response_and_its_version(
    checkout: Checkout, mlflow_server: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(local.mlflow)[0] == "pass"
    mlflow_server.page = b"3.16.0"
    status, text = look(local.mlflow)
    assert status == "fail"
    assert "3.16.1 or later is needed upgrade the server" in text
    mlflow_server.page = b"<html>"
    assert look(local.mlflow)[0] == "fail"
    mlflow_server.token, mlflow_server.page = "x", None
    assert run_check(local.mlflow)[::3] == ("fail", False)
    mlflow_server.broken = True
    assert run_check(local.mlflow)[::3] == ("fail", True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    assert run_check(local.mlflow)[::3] == ("fail", True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert run_check(local.mlflow)[::3] == ("fail", False)


def test_a_file_that_is_no_database_fails(checkout: Checkout) -> None:
    assert "the first run makes it" in look(local.mlflow)[1]
    (checkout.root / "mlflow.db").write_text("no database, but long enough to be read as one" * 99)
    assert look(local.mlflow)[0] == "fail"


def test_a_database_of_another_schema_or_half_made_is_named(checkout: Checkout) -> None:
    import mlflow.store.db.utils  # noqa: F401 - see above

    with closing(sqlite3.connect(checkout.root / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE experiments (artifact_location)")
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('older')")
        connection.commit()
        status, text = look(local.mlflow)
        assert (status, "half made" in text) == ("warn", True)
        connection.execute("INSERT INTO experiments VALUES ('somewhere')")
        connection.commit()
    status, text = look(local.mlflow)
    assert status == "fail"
    assert "its schema is older, this MLflow's is" in text
    assert "then mlflow db upgrade sqlite:///" in text


def commit(checkout: Checkout) -> None:
    change(checkout, training__seed=1)
    checkout.commit()


def lose_origin(checkout: Checkout) -> None:
    checkout.run("git", "remote", "remove", "origin")


def break_origin(checkout: Checkout) -> None:
    shutil.rmtree(checkout.bare)


@pytest.mark.parametrize(
    ("fault", "text", "service"),
    [
        (commit, "does not have the revision", False),
        (lose_origin, "there is no remote `origin`", False),
        (break_origin, "git ls-remote: ", True),
    ],
)
def test_a_commit_that_the_cluster_cannot_fetch_fails(
    fault: Callable[[Checkout], None], text: str, service: bool, checkout: Checkout
) -> None:
    assert look(cluster.pushed)[0] == "pass"
    fault(checkout)
    found = run_check(cluster.pushed)
    assert (found.status, found.service) == ("fail", service)
    assert text in found.found


def test_images_that_are_not_in_the_storage_fail(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(cluster.data_pushed)[0] == "pass"
    image = next(
        path
        for path in checkout.storage.rglob("*")
        if path.is_file() and path.read_bytes()[1:4] == b"PNG"
    )
    image.unlink()
    status, text = look(cluster.data_pushed)
    assert (status, "lacks 1 files of the images" in text) == ("fail", True)
    assert "; `dvc push`." in text
    monkeypatch.setattr(cluster, "_SECONDS", 0.01)
    assert look(cluster.data_pushed)[0] == "skipped"
    config = checkout.root / ".dvc/config"
    config.write_text("[core\n")
    assert look(cluster.data_pushed)[0] == "fail"
    config.write_text("[core]\n")
    status, text = look(cluster.data_pushed)
    assert (status, "names no default remote" in text) == ("fail", True)


def test_images_that_are_neither_in_the_storage_nor_in_the_cache_fail(checkout: Checkout) -> None:
    shutil.rmtree(checkout.storage)
    shutil.rmtree(checkout.root / ".dvc/cache")
    status, text = look(cluster.data_pushed)
    assert (status, "does not have the images" in text) == ("fail", True)
    assert "`dvc add data/images && dvc push`." in text
    checkout.run("dvc", "add", "data/images")
    checkout.run("dvc", "push")
    assert look(cluster.data_pushed)[0] == "pass"


def test_a_storage_that_does_not_answer_is_told_from_one_without_the_images(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(checkout.root / "none"))
    checkout.run("dvc", "remote", "modify", "storage", "url", "s3://bucket/images")
    found = run_check(cluster.data_pushed)
    assert (found.status, found.service) == ("fail", True)
    assert "Unable to locate credentials" in found.found


def test_kubeflow_is_checked_by_its_response_and_its_version(
    checkout: Checkout, kfp: Kubeflow, kube: Cluster
) -> None:
    def asked(endpoint: str | None) -> CheckResult:
        return run_check(lambda: cluster.kubeflow(endpoint))

    assert asked(kfp.url).status == "pass"
    assert asked(None).status == "skipped"
    assert asked("kfp.example.org").status == "fail"
    assert asked(DEAD)[::3] == ("fail", True)
    kfp.multi_user = False
    found = asked(kfp.url)
    assert (found.status, "runs are in its own namespace" in found.found) == ("warn", True)
    kube.namespace, kube.names["services"] = "team-a", ["ml-pipeline"]
    assert "for one user: runs are in team-a" in asked(kfp.url).found
    kfp.multi_user, kfp.version = True, "2.17.0"
    found = asked(kfp.url)
    assert found[::3] == ("pass", False)
    assert "version 2.17.0, without the mended advisories of 2.18.1" in found.found
    for version in ("2.16.9", "unknown"):
        kfp.version = version
        found = asked(kfp.url)
        assert (found.status, "older than what was tried (2.17.0)" in found.hint) == ("warn", True)
    kfp.health = {"apiServerReady": True, "apiServerTagName": "2.18.1", "multi_user": True}
    assert asked(kfp.url).status == "pass"
    kfp.health = {"apiServerReady": False}
    assert asked(kfp.url)[::3] == ("fail", True)
    kfp.token = "word"
    found = asked(kfp.url)
    assert (found.status, "HTTP 401" in found.found) == ("fail", True)


def test_the_mlflow_of_the_cluster_is_asked_where_its_name_is_known(
    checkout: Checkout, mlflow_server: Kubeflow
) -> None:
    assert look(cluster.cluster_mlflow)[0] == "skipped"
    change(checkout, cluster__tracking_uri=mlflow_server.url)
    assert look(cluster.cluster_mlflow)[0] == "pass"
    mlflow_server.page = b"3.0.0"
    assert look(cluster.cluster_mlflow)[0] == "fail"
    change(checkout, cluster__tracking_uri=DEAD)
    assert run_check(cluster.cluster_mlflow)[::3] == ("fail", True)


BY_KUBECTL = (
    cluster.namespace,
    cluster.secrets,
    cluster.volume,
    cluster.retries,
    cluster.gpus,
)


@pytest.mark.parametrize("check", BY_KUBECTL)
def test_what_kubectl_cannot_ask_is_skipped_and_never_right(
    check: Check, checkout: Checkout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, text = look(check)
    assert (status, "has no context" in text) == ("skipped", True)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, text = look(check)
    assert (status, "is not on PATH" in text) == ("skipped", True)


def test_without_kubectl_or_its_context_there_is_a_warning(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert look(cluster.context)[0] == "warn"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look(cluster.context)[0] == "warn"


@pytest.mark.parametrize("check", BY_KUBECTL)
def test_a_cluster_that_forbids_or_does_not_answer_is_not_taken_for_an_empty_one(
    check: Check, kube: Cluster, tmp_path: Path
) -> None:
    kube.forbidden = {"configmaps", "nodes", "secrets", "serviceaccounts"}
    status, text = look(check)
    assert (status, "forbidden" in text) == ("skipped", True)
    kube.url = DEAD
    kube.write_config(tmp_path / "kubeconfig")
    assert run_check(check)[::3] == ("fail", True)


def test_a_missing_account_fails(kube: Cluster) -> None:
    kube.names["serviceaccounts"] = ["default"]
    status, text = look(cluster.namespace)
    assert (status, "lacks serviceaccount/pipeline-run" in text) == ("fail", True)
    kube.names["namespaces"] = ["default"]
    assert look(cluster.namespace)[0] == "fail"


def test_a_missing_secret_fails_and_none_is_shown(kube: Cluster, checkout: Checkout) -> None:
    kube.names["secrets"].remove("s3-dvc")
    status, text = look(cluster.secrets)
    assert status == "fail"
    assert "lacks secret/s3-dvc" in text
    assert "mlflow-promoter" not in text
    change(checkout, cluster__storage_secret="mlflow-trainer")
    assert look(cluster.secrets)[0] == "pass"


def test_a_volume_that_belongs_to_root_warns_unless_there_is_a_standing_one(
    kube: Cluster, checkout: Checkout
) -> None:
    status, text = look(cluster.volume)
    assert (status, "with the fsGroup 10001 from Argo" in text) == ("pass", True)
    # One level higher it has no effect.
    wrong = {"spec": {"securityContext": {"fsGroup": 10001}}}
    kube.argo["workflowDefaults"] = yaml.dump(wrong)
    status, text = look(cluster.volume)
    assert (status, "no fsGroup 10001" in text) == ("warn", True)
    assert "sh infra/scripts/argo_defaults.sh, or cluster.workspace_claim" in text
    change(checkout, cluster__workspace_claim="workspace")
    status, text = look(cluster.volume)
    assert (status, "lacks the claim workspace" in text) == ("fail", True)
    kube.names["persistentvolumeclaims"] = ["workspace"]
    assert look(cluster.volume)[0] == "pass"


@pytest.mark.parametrize(
    ("strategy", "fault"),
    [
        ({"retryPolicy": "OnError"}, "Argo retries no container that was killed"),
        ({"retryPolicy": "OnFailure"}, "Argo retries no pod that was lost"),
        ({}, "Argo retries no pod that was lost"),
        ({"retryPolicy": "OnTransientError"}, "Argo retries no container that was killed, and no"),
        ({"retryPolicy": "Always"}, "Argo retries whole runs and steps that refused, too"),
        ({"retryPolicy": "Always", "expression": "true"}, ""),
    ],
)
def test_what_argo_retries_wrongly_warns(
    strategy: dict[str, str], fault: str, kube: Cluster, checkout: Checkout
) -> None:
    defaults = {"spec": {"templateDefaults": {"retryStrategy": {"limit": 2, **strategy}}}}
    kube.argo["workflowDefaults"] = yaml.dump(defaults)
    status, text = look(cluster.retries)
    assert (status, fault in text) == ("warn" if fault else "pass", True)
    assert ("sh infra/scripts/argo_defaults.sh" in text) is bool(fault)
    change(checkout, cluster__retries=0)
    assert look(cluster.retries)[0] == "pass"


def test_the_map_of_argo_is_found_in_another_namespace_or_is_skipped(
    kube: Cluster, checkout: Checkout
) -> None:
    kube.argo_namespace = "flows"
    assert [look(check)[0] for check in (cluster.volume, cluster.retries)] == ["pass", "pass"]
    kube.argo.clear()
    assert [look(check)[0] for check in (cluster.volume, cluster.retries)] == ["warn", "warn"]
    kube.names["configmaps"] = []
    status, text = look(cluster.volume)
    assert (status, "is in no namespace" in text) == ("skipped", True)


def test_no_node_with_the_label_of_gpus_warns_if_a_step_asks_for_one(
    kube: Cluster, checkout: Checkout
) -> None:
    kube.labels = "pool=gpu"
    status, text = look(cluster.gpus)
    assert (status, "no node with nvidia.com/gpu.present=true" in text) == ("warn", True)
    settings = yaml.safe_load((checkout.root / "params.yaml").read_text())["cluster"]
    asking = [name for name, value in settings.items() if "gpus" in str(value) and name != "gpu"]
    change(checkout, **{f"cluster__{name}__gpus": 0 for name in asking})
    assert look(cluster.gpus) == ("pass", "no step asks for a GPU ")


def test_without_kfp_the_others_are_still_asked(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pipeline.kubeflow.client", None)
    status, text = look(lambda: cluster.kubeflow(DEAD))
    assert (status, "install the extra `kubeflow`" in text) == ("skipped", True)
