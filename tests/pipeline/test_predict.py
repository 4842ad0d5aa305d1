"""Predictions for files and folders, from the command line."""

import csv
import os
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.data.decoding import load_image
from components.core.errors import MissingInput
from components.core.training import inference
from components.core.training.architectures import build_network
from components.io import models
from pipeline import predict
from pipeline.cli import main
from tests import factories
from tests.components.conftest import ROOT, write_params

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    torch.manual_seed(0)
    digest = models.save_weights(folder, build_network("resnet18", 2).state_dict())
    models.save_card(folder, factories.model_card(weights_sha256=digest))
    return folder


@pytest.fixture
def images(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    """Two images, one of them in a deeper folder, junk, and three files that are no images."""
    root = tmp_path / "photos"
    (root / "deep/er").mkdir(parents=True)
    (root / "b.png").write_bytes(image_bytes(1))
    (root / "deep/er/a.jpg").write_bytes(image_bytes(2, kind="JPEG"))
    (root / ".DS_Store").write_bytes(b"junk")
    (root / "cut.png").write_bytes(image_bytes(3)[:300])
    (root / "notes.txt").write_text("hello")
    (root / "link.png").symlink_to("b.png")
    return root


@pytest.fixture
def run(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """A command in a project with a trained model: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", {})
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    shutil.copytree(model, tmp_path / "artifacts/train/model")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_folder_is_predicted_and_each_unreadable_file_named(run: Run, images: Path) -> None:
    code, out, err = run("predict", "photos", "--trained")
    assert code == 3
    assert [line.split()[-1] for line in out.splitlines()] == [
        "photos/b.png",
        "photos/deep/er/a.jpg",
    ]
    assert all(line.split()[0] in ("bad", "good") for line in out.splitlines())
    named = [line for line in err.splitlines() if line.startswith("! ")]
    assert named == [
        "! photos/cut.png: truncated",
        "! photos/link.png: a symbolic link",
        "! photos/notes.txt: text/HTML, not an image",
    ]
    assert err.splitlines()[0].startswith("artifacts/train/model (")
    assert err.splitlines()[0].endswith(": not decided on")
    assert "2 images in " in err
    assert "images/s" in err
    assert "3 files could not be read" in err


def test_the_csv_has_a_row_for_each_file_and_the_numbers_of_evaluate(
    run: Run, images: Path, model: Path
) -> None:
    code, out, _ = run("predict", "photos", "--trained", "--csv", "--threshold", "0.999")
    rows = list(csv.DictReader(StringIO(out)))
    assert code == 3
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert len(rows) == 5
    loaded = models.load(model)
    card = loaded.card
    content = (images / "b.png").read_bytes()
    square = np.array(load_image(content, card.image_size, card.images))
    logits = inference.predict_logits(loaded.network, square[None], device="cpu")
    expected = inference.probabilities(logits, card.temperature)[0]
    (row,) = (row for row in rows if row["path"] == "photos/b.png")
    assert [float(row["p:bad"]), float(row["p:good"])] == pytest.approx(expected, abs=2e-6)
    assert row["label"] == card.class_names[expected.argmax()]
    assert row["sure"] == "no"
    (broken,) = (row for row in rows if row["path"] == "photos/cut.png")
    assert (broken["label"], broken["problem"]) == ("", "truncated")


def test_the_readme_s_line_is_a_command(run: Run, images: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    mark = "<!-- run by: tests/pipeline/test_predict.py -->\n```sh\npython -m pipeline "
    words = readme.partition(mark)[2].partition(" > ")[0].split()
    shutil.copy(images / "b.png", "cell.png")
    code, out, _ = run(*words, "--trained")
    assert code == 3  # three files of the folder are no images
    assert [row["path"] for row in csv.DictReader(StringIO(out))][-1] == "cell.png"


def test_below_the_threshold_an_image_is_marked_and_counted(run: Run, images: Path) -> None:
    code, out, err = run("predict", "photos/b.png", "--trained", "--threshold", "1")
    assert code == 0
    assert out.rstrip().endswith("photos/b.png  below 1")
    assert "1 below 1" in err


def test_paths_are_those_of_where_the_user_stands(
    run: Run, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images / "deep")
    code, out, _ = run("predict", "er", "--trained")
    assert code == 0
    assert out.split()[-1] == "photos/deep/er/a.jpg"


def test_more_images_than_a_batch_keep_their_order(
    model: Path, tmp_path: Path, image_bytes: Callable[..., bytes]
) -> None:
    paths = []
    for seed in range(predict._BATCH + 2):
        paths.append(tmp_path / f"{seed:02}.png")
        paths[-1].write_bytes(image_bytes(seed % 3))
    loaded = predict.load(model)
    found = list(predict.predict(loaded, predict.find_images(paths)))
    assert [one.path for one in found] == paths
    numbers = np.array([one.probability for one in found])
    assert numbers[0] == pytest.approx(numbers[-1 - (len(paths) - 1) % 3], abs=1e-6)
    assert numbers[0] != pytest.approx(numbers[1], abs=1e-6)


@pytest.mark.parametrize("content", [None, ()])
def test_nothing_to_predict_is_an_error(tmp_path: Path, content: tuple[()] | None) -> None:
    folder = tmp_path / "nothing"
    if content is not None:
        folder.mkdir()
    with pytest.raises(MissingInput, match=r"nothing: (does not exist|holds no file); give image"):
        predict.find_images([folder])


def test_a_file_larger_than_any_image_is_not_read(model: Path, tmp_path: Path) -> None:
    card = models.load_card(model)
    path = tmp_path / "film.png"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 33)  # a hole: no disk is used
    assert predict.read_square(predict.Found(path), card) == "more bytes than an image can have"
    path.unlink()
    problem = predict.read_square(predict.Found(path), card)
    assert problem == "cannot be read (No such file or directory)"


def test_a_pipe_is_named_and_not_waited_for(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (found,) = predict.find_images([tmp_path / "pipe.png"])
    assert predict.read_square(found, models.load_card(model)) == "a FIFO, socket or device"


def test_the_last_model_and_another_version_cannot_both_be_meant(run: Run, images: Path) -> None:
    code, _, err = run("predict", "photos", "--trained", "--version", "2")
    assert code == 2
    assert "--trained is the model in artifacts/train" in err
