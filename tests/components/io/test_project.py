"""In the copies that DVC makes for experiments, the project is the one that was copied."""

from pathlib import Path

import pytest

from components.core.errors import MissingInput
from components.io.project import original_folder, project_folder


def enter_copy(root: Path, monkeypatch: pytest.MonkeyPatch, place: str, inside: str = "") -> Path:
    """A repository at `root` with a copy at `place`; the current folder is `inside` of the copy."""
    for repository in (root, root / place):
        (repository / ".dvc").mkdir(parents=True, exist_ok=True)
        (repository / inside).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(root / place / inside)
    return root


@pytest.fixture(autouse=True)
def without_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)


def test_elsewhere_it_is_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_folder() == tmp_path
    assert original_folder() is None


@pytest.mark.parametrize("place", [".dvc/tmp/exps/tmpab12", ".dvc/tmp/exps/standalone/tmpab12"])
@pytest.mark.parametrize("inside", ["", "models/cells"])
def test_a_copy_of_an_experiment_belongs_to_the_project_that_was_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, inside: str
) -> None:
    root = enter_copy(tmp_path / "a%20b?", monkeypatch, place, inside)
    assert project_folder() == original_folder() == root / inside


def test_a_project_in_a_folder_of_the_repository_is_found_from_the_whole_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `dvc init --subdir`: git's repository is copied, and .dvc lies deeper in the copy.
    project = tmp_path / "mono/ml"
    copy = project / ".dvc/tmp/exps/standalone/tmpab12/ml"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert project_folder() == project


def test_a_folder_of_copies_on_another_disk_is_found_by_what_dvc_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, copy = tmp_path / "project", tmp_path / "scratch/exps/tmpab12"
    (project / ".dvc").mkdir(parents=True)
    (project / ".dvc/tmp").symlink_to(tmp_path / "scratch")
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert project_folder() == project


def test_a_pipeline_that_starts_this_one_as_a_stage_does_not_own_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path.parent))
    assert project_folder() == tmp_path


def test_a_copy_whose_project_is_gone_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / ".dvc/tmp/exps/tmpab12"  # without a .dvc of its own
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    with pytest.raises(MissingInput, match=r"temporary copy .* set MLFLOW_TRACKING_URI") as refused:
        project_folder()
    assert "\n" not in str(refused.value)
    assert original_folder() is None
