"""What the image holds and what it does not, and how it behaves where a cluster runs it."""

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.containers.engine import DOCKER, ROOT, Image
from tests.infra import test_dockerfile as dockerfile

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

STORE = ("--env", "MLFLOW_TRACKING_URI=sqlite:////tmp/mlflow.db")


def test_hadolint_finds_nothing_where_it_must_be_installed() -> None:
    assert dockerfile.lint(dockerfile.FILE.read_text()) == ""


def inspect(image: Image) -> dict[str, object]:
    found = json.loads(image.engine.docker("image", "inspect", image.name))[0]["Config"]
    assert isinstance(found, dict)
    return found


def test_it_has_a_numeric_user_a_command_and_no_entry_point(image: Image) -> None:
    config = inspect(image)
    assert config["User"] == "10001:10001"
    assert config["WorkingDir"] == "/app"
    assert config["Entrypoint"] is None
    assert isinstance(config["Cmd"], list)
    assert config["Cmd"][0] == "python"


def test_its_labels_name_version_and_revision(image: Image) -> None:
    labels = inspect(image)["Labels"]
    assert isinstance(labels, dict)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == head
    assert (
        f'version = "{labels["org.opencontainers.image.version"]}"'
        in (ROOT / "pyproject.toml").read_text()
    )


def test_no_compiler_no_build_tool_and_no_cache_of_packages_is_left(image: Image) -> None:
    tools = ("git", "gcc", "cc", "g++", "make", "cmake", "ld", "uv", "hadolint")
    there = " ".join(f"$(command -v {tool})" for tool in tools)
    assert image.run("sh", "-c", f"echo {there}").split() == ["/usr/bin/git"]
    as_root = ("--user", "0:0")
    assert ".cache" not in image.run("ls", "-A", "/root", options=as_root)
    assert image.run("ls", "-A", "/var/lib/apt/lists", options=as_root).strip() == ""
    assert not re.search(r"^pip", image.run("ls", "/opt/venv/bin"), re.MULTILINE)


def test_it_holds_exactly_what_the_lock_names(image: Image) -> None:
    code = (
        "from importlib.metadata import distributions; "
        "print(*(f'{found.name}=={found.version}' for found in distributions()))"
    )
    there = {Requirement(word) for word in image.run("python", "-c", code).split()}
    lines = [line.rstrip(" \\") for line in (ROOT / "infra/image.lock").read_text().splitlines()]
    pins = [Requirement(line) for line in lines if re.match(r"[a-z]", line)]
    mine = {"python_version": "3.11", "python_full_version": "3.11.9"}
    expected = {
        f"{canonicalize_name(pin.name)}{pin.specifier}"
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(mine)
    }
    assert {f"{canonicalize_name(found.name)}{found.specifier}" for found in there} == expected


def test_the_list_of_components_names_what_runs_and_no_tool_of_the_makers(image: Image) -> None:
    listed = json.loads(image.components.read_text())
    assert listed["bomFormat"] == "CycloneDX"
    versions = {part["name"]: part.get("version") for part in listed["components"]}
    lock = (ROOT / "infra/image.lock").read_text()
    for name in ("torch", "kfp", "mlflow"):
        assert f"\n{name}=={versions[name]} " in lock
    assert "git" in versions
    assert not {"pytest", "mypy", "ruff", "hypothesis", "elpv-dataset"} & set(versions)


@pytest.mark.row("I07", "R20")
@pytest.mark.parametrize(
    ("command", "start"),
    [
        ("python -m pipeline check", "params.yaml, "),
        ("python -m mlflow server --help", "Usage: "),
        ("python -m dvc version", "DVC version: "),
        ("git --version", "git version "),
        ("python -c 'import torch, torchvision; print(torch.ones(2).sum())'", "tensor(2.)"),
        (
            "python -c 'import psycopg, boto3, kfp.kubernetes, flask_wtf, pygit2; print(1)'",
            "1",
        ),
    ],
)
def test_it_works_with_a_read_only_root_and_an_unknown_user(
    image: Image, command: str, start: str
) -> None:
    lines = image.run("sh", "-c", command, options=STORE).splitlines()
    assert any(line.startswith(start) for line in lines)


def test_its_root_is_read_only_for_the_tests_themselves(image: Image) -> None:
    assert "Read-only file system" in image.run("touch", "/app/x", code=1)
    assert "no name" in image.run("sh", "-c", "id -un 2>&1 || echo no name")


@pytest.mark.parametrize("folder", ["/", "/tmp"])
def test_the_project_is_importable_from_any_folder(image: Image, folder: str) -> None:
    code = "import components.registry.audit_log, pipeline.kubeflow.task as t; print(t.__file__)"
    output = image.run("python", "-c", code, options=("--workdir", folder))
    assert output.split()[-1] == "/app/pipeline/kubeflow/task.py"


def test_the_build_sees_what_it_copies_and_nothing_else(image: Image, tmp_path: Path) -> None:
    """The engine sends the context to a build; this build hands it back."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    planted = ROOT / "components/__pycache__/planted.pyc"
    planted.parent.mkdir(exist_ok=True)
    planted.touch()
    command = [DOCKER, "build", "--quiet", "--file", str(tmp_path / "Dockerfile"),
               "--output", f"type=tar,dest={tmp_path}/context.tar", "."]  # fmt: skip
    environment = {**os.environ, "DOCKER_HOST": image.engine.host, "DOCKER_BUILDKIT": "1"}
    try:
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    finally:
        planted.unlink()
    with tarfile.open(tmp_path / "context.tar") as context:
        files = {member.name for member in context if member.isfile()}
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "components", "pipeline"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert files == {*tracked, "params.yaml", "dvc.yaml", "infra/image.lock"}
