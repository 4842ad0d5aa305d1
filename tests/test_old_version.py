"""What `approve` advises for a version that another champion was compared with, really walked."""

import re
from pathlib import Path

import pytest

from tests.faults import tiny_project
from tests.test_end_to_end import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_ADVICE = re.compile(r"\(`(git checkout \w+)` and `(dvc checkout)`\), run `(dvc repro register)`")


def change_training(project: Project, early_stopping: int) -> None:
    """Settings of another model, committed like a person's."""
    params = project.root / "params.yaml"
    text, found = re.subn(
        r"early_stopping: \d+", f"early_stopping: {early_stopping}", params.read_text()
    )
    assert found == 1
    params.write_text(text)
    commit(project)


def commit(project: Project) -> None:
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "a person's")


def approve(project: Project, version: str, code: int = 0) -> str:
    words = ("approve", version, "--reason", "seen", "--yes")
    return project.run("python", "-m", "pipeline", *words, code=code)


def test_the_way_that_approve_advises_for_an_old_version_leads_to_its_approval(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path / "project")
    tiny_project.make(project.root)
    project.run("git", "init", "-q")
    project.run("dvc", "add", "-q", "data/images")
    commit(project)
    for early_stopping in (41, 42, 43):
        change_training(project, early_stopping)
        project.run("dvc", "repro")
        commit(project)
    # Too few test images for a second one to pass: versions 2 and 3 wait for a person.
    approve(project, "2")
    change_training(project, 44)

    refusal = approve(project, "3", code=1)
    advice = _ADVICE.search(refusal)
    assert advice, refusal
    assert "not exactly" not in refusal  # it ran from a commit
    for command in advice.groups():
        output = project.run(*command.split())
    assert "already registered: tiny version 3" in output, "the very model, not one like it"
    assert "champion is version 3" in approve(project, "3")
