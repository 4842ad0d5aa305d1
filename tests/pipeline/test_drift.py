"""New images against the statistics that travel in the model folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.core.errors import MissingInput
from components.core.training import features
from components.core.training.architectures import build_network
from components.io import files, models, reference
from pipeline import model_data
from pipeline.cli import main
from tests import factories
from tests.components.conftest import Workspace, _image_bytes


@pytest.fixture(scope="module")
def project(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with reference statistics of 48 images that it has not seen."""
    root = tmp_path_factory.mktemp("drift") / "project"
    shutil.copytree(workspace.root, root)
    (root / "dvc.yaml").write_text("stages: {}\n")
    folder = root / "artifacts/train/model"
    torch.manual_seed(0)
    network = build_network("resnet18", 2)
    digest = models.save_weights(folder, network.state_dict())
    card = factories.model_card(weights_sha256=digest, class_names=["lying", "standing"])
    models.save_card(folder, card)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        dataset = model_data.open_for(card, ("train", "val", "test"))
    val = dataset.splits["train"]  # the network was not trained on any: more is better here
    measured = reference.measure(
        network.eval(),
        "resnet18",
        card.temperature,
        dataset.splits["val"],
        val,
        features.extract(network, "resnet18", val.pixels, device="cpu"),
        num_classes=2,
        device="cpu",
    )
    reference.write(folder, measured)
    return root


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def photographs(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Thirty new images of the two classes."""
    folder.mkdir()
    for k in range(30):
        path = folder / f"{k:02}.png"
        path.write_bytes(_image_bytes(k % 2, 1000 + k))
        with Image.open(path) as image:
            changed = change(np.asarray(image))
        Image.fromarray(changed.astype(np.uint8)).save(path)
    return folder


def test_new_images_of_the_same_kind_are_no_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photographs(tmp_path / "same", lambda pixels: pixels)
    (folder / "note.txt").write_text("hello")
    assert main(["drift", str(folder), "--trained"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].startswith("no drift: 30 images against ")
    assert "note.txt: text/HTML, not an image" in shown.err


def test_darker_images_are_an_alarm_that_says_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photographs(tmp_path / "dark", lambda pixels: pixels * 0.6)
    assert main(["drift", str(folder), "--trained"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["fail", "brightness"]
    assert lines[-1].startswith("drift in ")
    assert "brightness" in lines[-1]
    assert main(["drift", str(folder), "--trained", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["alarm"] is True
    assert found["images"] == 30
    assert {one["name"] for one in found["statistics"] if one["alarm"]} >= {"brightness"}


def test_a_handful_of_images_is_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photographs(tmp_path / "few", lambda pixels: pixels)
    for path in sorted(folder.iterdir())[:11]:
        path.unlink()
    assert main(["drift", str(folder), "--trained"]) == 1
    assert "19 images can be read, but at least 20 are needed" in capsys.readouterr().err


def test_the_reference_comes_back_as_it_was_written(project: Path, tmp_path: Path) -> None:
    card = models.load_card(Path("artifacts/train/model"))
    known = reference.read(Path("artifacts/train/model"), card)
    reference.write(tmp_path, known)
    again = reference.read(tmp_path, card)
    assert np.array_equal(again.statistics, known.statistics)
    assert np.array_equal(again.class_means, known.class_means)
    own = files.digest_file(Path("artifacts/train/model") / reference.FILE)
    assert files.digest_file(tmp_path / reference.FILE) == own


def test_a_model_without_reference_or_with_another_one_says_how_to_get_it(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    card = factories.model_card()
    with pytest.raises(MissingInput, match=r"carries no reference statistics .* `dvc repro`"):
        reference.read(tmp_path, card)
    tensors = {"statistics": np.zeros((3, 2), np.float32)}
    save_file(tensors, tmp_path / reference.FILE, {"statistics": "brightness hue"})
    with pytest.raises(MissingInput, match="that this version reads"):
        reference.read(tmp_path, card)
