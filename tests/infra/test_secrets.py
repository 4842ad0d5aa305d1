"""Placeholders are refused by the very check that runs before the servers; made secrets pass it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.manifests import KUSTOMIZE, OVERLAYS, build, namespace_of, of_kind, pods

CHECK = KUSTOMIZE / "base" / "checks" / "check_secrets.py"
MAKE = KUSTOMIZE.parent / "scripts" / "make_secrets.sh"


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECK), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(folder: Path, **secrets: str) -> Path:
    for name, value in secrets.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "password").write_text(value)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    subprocess.run(["sh", str(MAKE), str(folder)], check=True, timeout=60)
    return folder


@pytest.mark.row("I13")
def test_every_placeholder_that_a_pod_mounts_keeps_it_from_starting(tmp_path: Path) -> None:
    placeholders = {
        (namespace_of(each), each["metadata"]["name"]): each["stringData"]
        for each in build("secrets")
    }
    for overlay in OVERLAYS:
        for pod in pods(build(overlay)):
            for volume in pod.volumes:
                if "secret" not in volume or volume["name"] in ("ca", "tls"):
                    continue
                name = volume["secret"]["secretName"]
                folder = tmp_path / Path(overlay).name / pod.name / name
                (folder / name).mkdir(parents=True)
                for key, value in placeholders[pod.namespace, name].items():
                    (folder / name / key).write_text(value)
                found = check(folder)
                assert found.returncode == 1, (pod.name, name)
                assert "is still the placeholder" in found.stderr


@pytest.mark.row("I13")
def test_short_equal_and_absent_secrets_are_refused(tmp_path: Path) -> None:
    good = "0123456789abcdef"
    assert check(write(tmp_path / "good", one=good)).returncode == 0
    assert "15 characters" in check(write(tmp_path / "short", one=good[1:])).stderr
    assert "the same as one/password" in check(write(tmp_path / "twin", one=good, two=good)).stderr
    assert "no secret is mounted" in check(tmp_path / "nothing").stderr


def test_no_value_is_ever_printed(tmp_path: Path) -> None:
    found = check(write(tmp_path, one="hunter2"))
    assert found.returncode == 1
    assert "hunter2" not in found.stdout + found.stderr


def test_made_secrets_have_exactly_the_keys_that_are_referred_to(made: Path) -> None:
    paths = {tuple(path.relative_to(made).parts) for path in made.glob("*/*/*")}
    expected = {
        (namespace_of(secret), secret["metadata"]["name"], key)
        for secret in of_kind(build("secrets"), "Secret")
        for key in secret["stringData"]
        if secret["metadata"]["name"] != "mlflow-tls"  # comes with the ingress's certificate
    }
    assert paths == expected


def test_made_secrets_pass_the_check_of_every_pod(made: Path, tmp_path: Path) -> None:
    for overlay in OVERLAYS:
        for pod in pods(build(overlay)):
            names = [v["secret"]["secretName"] for v in pod.volumes if "secret" in v]
            folder = tmp_path / Path(overlay).name / pod.name
            folder.mkdir(parents=True)
            for name in set(names) - {"internal-ca", "postgres-tls"}:
                (folder / name).symlink_to(made / pod.namespace / name)
            if list(folder.iterdir()):
                found = check(folder)
                assert found.returncode == 0, (pod.name, found.stderr)


def test_the_made_identities_see_only_their_buckets(made: Path) -> None:
    text = (made / "image-classification" / "seaweedfs-identities" / "s3.json").read_text()
    actions = {each["name"]: set(each["actions"]) for each in json.loads(text)["identities"]}
    assert set(actions) == {"admin", "mlflow", "backup", "dvc"}
    assert {action.partition(":")[2] for action in actions["mlflow"]} == {"mlflow"}
    assert {action.partition(":")[2] for action in actions["backup"]} == {"backups"}
    assert {action.partition(":")[2] for action in actions["dvc"]} == {"dvc"}


def test_a_used_folder_is_refused(made: Path) -> None:
    found = subprocess.run(
        ["sh", str(MAKE), str(made)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "is not empty" in found.stderr
