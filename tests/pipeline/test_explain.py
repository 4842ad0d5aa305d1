"""One prediction explained: classes, heat map, neighbors among the training images."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from components.core.training.architectures import build_network
from components.io import models
from components.io.data.dataset import DataPaths
from pipeline import explain, model_data
from pipeline.cli import main
from tests import factories
from tests.components.conftest import Workspace


@pytest.fixture
def project(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(workspace.root, root)
    (root / "dvc.yaml").write_text("stages: {}\n")
    folder = root / "artifacts/train/model"
    torch.manual_seed(0)
    digest = models.save_weights(folder, build_network("resnet18", 2).state_dict())
    names = ["lying", "standing"]
    models.save_card(folder, factories.model_card(weights_sha256=digest, class_names=names))
    monkeypatch.chdir(root)
    return root


def a_training_image(project: Path) -> str:
    card = models.load_card(project / "artifacts/train/model")
    return str(model_data.open_for(card, ("train",)).rows["train"]["path"].iloc[2])


def test_a_training_image_is_its_own_nearest_neighbor(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_training_image(project)
    for _ in range(2):  # the second time with features that were kept
        assert main(["explain", f"data/images/{path}", "--trained"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert {word for word in lines[0].split() if word.isalpha()} == {
            "lying",
            "standing",
            "then",
        }
        trained = len(
            model_data.open_for(models.load_card(Path("artifacts/train/model")), ("train",)).rows[
                "train"
            ]
        )
        assert lines[1].startswith(f"nearest of {trained} training images of the present data")
        assert lines[2].split()[1:] == [path.split("/")[0], path]
        assert float(lines[2].split()[0]) == pytest.approx(1, abs=1e-3)
        assert len(lines) == 2 + explain.NEIGHBORS + 1
    assert len(list(Path("cache/features").iterdir())) == 1
    with Image.open(lines[-1]) as figure:
        assert figure.width > figure.height > 100


def test_of_many_training_images_some_are_searched(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(explain, "_SEARCHED", 6)
    assert main(["explain", f"data/images/{a_training_image(project)}", "--trained"]) == 0
    assert "nearest of 6 among " in capsys.readouterr().out


def test_without_training_images_the_heat_map_remains(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"data/images/{a_training_image(project)}"
    DataPaths().report.unlink()
    assert main(["explain", path, "--trained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("no training images to compare with: ")
    assert Path(lines[-1]).is_file()


def test_a_file_that_is_no_image_is_an_error_in_one_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("note.png").write_text("hello")
    assert main(["explain", "note.png", "--trained"]) == 1
    assert "error: note.png: text/HTML, not an image; give" in capsys.readouterr().err


def test_a_folder_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "data/images", "--trained"]) == 1
    assert "error: data/images: is a folder; give one image." in capsys.readouterr().err
