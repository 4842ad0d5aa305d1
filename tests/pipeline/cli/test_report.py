"""`report` writes the page of what lies in artifacts/, from a folder of its own."""

import shutil
from pathlib import Path

import pytest

from pipeline import cli
from tests.components.conftest import ROOT, Workspace, write_params
from tests.components.conftest import workspace as workspace


@pytest.fixture
def project(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(workspace.root, tmp_path / "p")
    shutil.copy(ROOT / "dvc.yaml", tmp_path / "p")
    write_params(tmp_path / "p/params.yaml", {})
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def test_the_page_is_written_again_and_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", "--no-open"]) == 0
    assert capsys.readouterr().out == "artifacts/report/index.html\n"
    page = (project / "artifacts/report/index.html").read_text()
    assert "Not evaluated yet" in page
    assert page.count("<img ") == 16, "eight images of each of the two classes"


def test_without_data_it_says_what_to_do(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "artifacts/validate/report.json").unlink()
    assert cli.main(["report", "--no-open"]) == 1
    assert "no validated data" in capsys.readouterr().err
