"""infra/Dockerfile keeps its rules, and its lock is a part of the project's."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.infra import dockerfile
from tests.infra.dockerfile import RULES, Rule

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra/Dockerfile"
LOCK = ROOT / "infra/image.lock"
HADOLINT = ROOT / ".tools/bin/hadolint"

FAULTS: list[tuple[Rule, str, str]] = [
    (dockerfile.base_is_an_argument_without_latest, "=python:3.11-slim", "=python:latest"),
    (dockerfile.base_is_an_argument_without_latest, "=python:3.11-slim", "=python"),
    (dockerfile.base_is_an_argument_without_latest, "FROM ${BASE_IMAGE}", "FROM python:3.12"),
    (dockerfile.stages_have_names, "FROM base AS app", "FROM base"),
    (dockerfile.stages_have_names, "FROM runtime AS cpu", "FROM runtime AS slim"),
    (dockerfile.old_builders_understand_it, "# Two", "# syntax=docker/dockerfile:1\n# Two"),
    (dockerfile.old_builders_understand_it, "RUN apt-get update", "RUN <<EOF\nEOF\nRUN true"),
    (dockerfile.old_builders_understand_it, "COPY --from=app", "COPY --link --from=app"),
    (dockerfile.user_is_a_number, "USER 10001:10001", "USER pipeline"),
    (dockerfile.user_is_a_number, "USER 10001:10001", "USER 0:0"),
    (dockerfile.user_is_a_number, "USER 10001:10001\n", ""),
    (dockerfile.command_is_a_list_without_entry_point, "CMD [", 'ENTRYPOINT ["sh"]\nCMD ['),
    (dockerfile.command_is_a_list_without_entry_point, 'CMD ["python",', "CMD python #"),
    (dockerfile.system_packages_are_few_and_their_lists_go, "git libgomp1", "git gcc libgomp1"),
    (dockerfile.system_packages_are_few_and_their_lists_go, "--no-install-recommends", ""),
    (dockerfile.system_packages_are_few_and_their_lists_go, "rm -rf /var/lib/apt", "ls /var/lib"),
    (dockerfile.packages_come_by_hash, "--require-hashes -r /image.lock", "-r /image.lock"),
    (dockerfile.what_builds_stays_behind, "WORKDIR", "RUN pip install x --require-hashes\nWORKDIR"),
    (dockerfile.nothing_is_added_from_afar, "COPY params.yaml", "ADD params.yaml"),
    (dockerfile.nothing_is_added_from_afar, "apt-get update", "curl https://example.org/ && true"),
    (dockerfile.labels_tell_version_and_revision, "image.revision", "image.commit"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_dockerfile_keeps_the_rule(rule: Rule) -> None:
    assert rule(FILE.read_text()) == []


@pytest.mark.row("I06")
@pytest.mark.parametrize(("rule", "old", "new"), FAULTS)
def test_a_planted_fault_is_seen(rule: Rule, old: str, new: str) -> None:
    text = FILE.read_text()
    assert old in text
    assert rule(text.replace(old, new)) != []


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, _, _ in FAULTS} == set(RULES)


def lint(text: str) -> str:
    done = subprocess.run(
        [HADOLINT, "-"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout


@pytest.mark.row("I06")
@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is missing: make .tools/installed")
def test_hadolint_finds_nothing_but_a_planted_fault() -> None:
    assert lint(FILE.read_text()) == ""
    assert "DL3020" in lint(FILE.read_text().replace("COPY params.yaml", "ADD params.yaml"))


def pins(lock: Path) -> dict[str, set[str]]:
    """`package==version` -> the hashes of its files. A package may have a version per platform."""
    blocks = re.split(r"\n(?=[a-z])", lock.read_text())
    return {
        block.split()[0]: set(re.findall(r"sha256:[0-9a-f]{64}", block))
        for block in blocks
        if block[0] != "#"
    }


def test_the_image_has_the_projects_own_pins_without_tools_for_its_making() -> None:
    whole, image = pins(ROOT / "requirements.lock"), pins(LOCK)
    assert {pin: whole.get(pin) for pin in image} == image
    assert all(image.values())
    names = {pin.partition("==")[0] for pin in image}
    assert {"torch", "mlflow", "kfp", "boto3", "dvc-s3", "psycopg", "flask-wtf"} <= names
    assert not {"pytest", "mypy", "ruff", "uv", "onnx", "elpv-dataset"} & names


def test_torch_for_cpus_has_the_locked_version() -> None:
    given = dict(rest.split("=") for rest in dockerfile.of_keyword(FILE.read_text(), "ARG"))
    for name in ("torch", "torchvision"):
        assert f"{name}=={given[name.upper()]}" in pins(LOCK)
