import os
import subprocess
from pathlib import Path

import pytest

from components.tracking import lineage


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "first")
    return tmp_path


def test_revision_is_the_commit_even_behind_a_tag(repository: Path) -> None:
    git("tag", "v1")
    assert lineage.git_revision() == git("rev-parse", "HEAD")


def test_changed_files_make_the_revision_dirty(repository: Path) -> None:
    (repository / "file").write_text("b")
    assert lineage.git_revision() == git("rev-parse", "HEAD") + "-dirty"


def test_the_lock_file_that_dvc_rewrites_is_no_change(repository: Path) -> None:
    (repository / "below").mkdir()
    for lock in ("dvc.lock", "below/dvc.lock"):
        (repository / lock).write_text("a")
        git("add", lock)
    git("commit", "-m", "locks")
    for lock in ("dvc.lock", "below/dvc.lock"):
        (repository / lock).write_text("b")
    assert lineage.git_revision() == git("rev-parse", "HEAD")
    (repository / "untracked").write_text("c")
    assert lineage.git_revision() == git("rev-parse", "HEAD")
    git("add", "untracked")
    assert lineage.git_revision().endswith("-dirty")


@pytest.mark.parametrize("project", [".", "below"])
def test_texts_and_tests_cannot_change_a_model(
    project: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("README.md", "bench/notes.md", "docs/a/figure.png", "tests/components/test_a.py")
    others = ("tests_of_mine.py", "components/docs.py", "pipeline/tests/a.py", "params.yaml")
    for name in (*files, *others):
        path = repository / project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a")
    git("add", "-A")
    git("commit", "-m", "files")
    monkeypatch.chdir(repository / project)
    for name in files:
        Path(name).write_text("b")
    assert lineage.git_revision() == git("rev-parse", "HEAD")
    for name in others:
        Path(name).write_text("b")
        assert lineage.git_revision().endswith("-dirty"), name
        Path(name).write_text("a")


def test_outside_a_repository_there_is_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert lineage.git_revision() == ""
    assert lineage.tags() == {}


def test_without_git_there_is_no_revision(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert lineage.git_revision() == ""


def test_tags_hold_revision_and_hash(repository: Path) -> None:
    pointer = repository / "data/images.dvc"
    pointer.parent.mkdir()
    pointer.write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: images\n")
    assert lineage.tags() == {
        "git": git("rev-parse", "HEAD"),
        "dvc": "0123456789abcdef0123456789abcdef.dir",
    }


@pytest.mark.parametrize("content", ["", "outs: []", "outs: 3", "- a", "{", "outs:\n- path: x"])
def test_a_pointer_that_says_nothing_gives_no_hash(content: str, tmp_path: Path) -> None:
    pointer = tmp_path / "images.dvc"
    pointer.write_text(content)
    assert lineage.dvc_hash(pointer) == ""


def test_a_writer_without_a_login_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    monkeypatch.setattr("getpass.getuser", unknown)
    assert lineage.current_actor().startswith(f"uid {os.getuid()}@")
