"""A project as it is cloned, and folders of somebody's images."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components.conftest import ROOT

FILES = ("params.yaml", "dvc.yaml", "dvc.lock", "data/images.dvc")
TABLES = {"data/groups.csv": "path,group\n", "data/splits.csv": "pixel_sha256,split,path\n"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a fresh clone, as the current folder; DVC itself is not set up."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (root / ".dvc").mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, root / name)
    for name, header in TABLES.items():
        (root / name).write_text(header)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def photos(tmp_path: Path, class_folders: Callable[[Path, dict[str, int]], Path]) -> Path:
    """Twelve cats and eight dogs of 40 x 32 pixels."""
    return class_folders(tmp_path / "photos", {"cat": 12, "dog": 8})
