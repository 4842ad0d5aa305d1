"""A small model as ONNX files that agree with it on val, and what a consumer does with them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from components.core.artifacts import ModelCard
from components.core.data.decoding import load_image
from components.core.errors import ChangedInput, PipelineError
from components.core.evaluation import agreement
from components.core.training import inference
from components.core.training.architectures import build_network
from components.io import files, models
from pipeline import export, model_data
from pipeline.chosen_model import ChosenModel
from pipeline.cli import main
from pipeline.export import card as cards
from pipeline.export import onnx_file
from tests import factories
from tests.components.conftest import Workspace

CLASSES = ["lying", "standing"]
OUT = Path("out")


def save_model(folder: Path, class_names: list[str]) -> ChosenModel:
    """A network with random weights that is sure of its predictions, and its card."""
    torch.manual_seed(0)
    network = build_network("resnet18", len(class_names))
    with torch.no_grad():
        network.get_submodule("fc").bias[0] = 4.0  # type: ignore[operator]
    digest = models.save_weights(folder, network.state_dict())
    images = factories.image_params(resize_mode="crop", background=(9, 8, 7))
    card = factories.model_card(class_names=class_names, weights_sha256=digest, images=images)
    models.save_card(folder, card)
    return ChosenModel(folder, "cells version 3, champion", "passed 0.9", "3", "a" * 64)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace) -> Path:
    """A copy of the validated project, with an exported model in `out`."""
    root = tmp_path_factory.mktemp("export") / "project"
    shutil.copytree(workspace.root, root)
    (root / "dvc.yaml").write_text("stages: {}\n")
    save_model(root / "artifacts/train/model", CLASSES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        export.export(save_model(Path("model"), CLASSES), OUT)
    return root


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


@pytest.fixture
def card() -> cards.ExportedCard:
    return cards.ExportedCard.model_validate_json((OUT / "card.json").read_bytes())


def test_the_fp32_file_predicts_like_the_model_for_any_batch_size(card: cards.ExportedCard) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(OUT / "model.onnx")
    found = session.run(None, {"pixels": pixels})[0]
    loaded = models.load(Path("model"))
    logits = inference.predict_logits(loaded.network, pixels, batch_size=2, device="cpu")
    assert np.abs(found - inference.probabilities(logits, 1.7)).max() < 1e-5
    own = set(ModelCard.model_fields)
    assert ModelCard(**{k: v for k, v in card.model_dump().items() if k in own}) == loaded.card


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_each_file_says_what_it_is_and_how_an_image_becomes_its_input(
    name: str, card: cards.ExportedCard
) -> None:
    inside = onnxruntime.InferenceSession(OUT / name).get_modelmeta().custom_metadata_map
    assert json.loads(inside["class_names"]) == CLASSES
    assert inside["model"] == card.model == "cells version 3, champion"
    assert inside["model_version"] == card.model_version == "3"
    assert inside["model_digest"] == card.model_digest == "a" * 64
    assert inside["verdict"] == card.verdict == "passed 0.9"
    assert cards.Preprocessing.model_validate_json(inside["preprocessing"]) == card.preprocessing
    assert card.preprocessing == cards.describe_preprocessing(models.load_card(Path("model")))
    (form,) = (form for form in card.files if form.name == name)
    assert form.accepted
    assert form.sha256 == files.digest_file(OUT / name)
    assert form.images == len(model_data.open_for(card, ("val",)).splits["val"].labels)
    assert 0 < form.p50_ms <= form.p95_ms
    assert form.megabytes == pytest.approx((OUT / name).stat().st_size / 1e6, rel=0.01)


def test_int8_is_a_quarter_of_the_size_and_another_file(card: cards.ExportedCard) -> None:
    fp32, int8 = card.files
    assert int8.megabytes < 0.27 * fp32.megabytes
    assert 0 < int8.max_probability_change < 0.2
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(OUT / int8.name).graph.node}


@pytest.mark.parametrize("size", [(48, 75), (80, 33)])
def test_the_example_predicts_like_the_model(size: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cell.png")
    done = subprocess.run(
        [sys.executable, "-I", str(OUT / "example.py"), str(tmp_path / "cell.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = [line.split() for line in done.stdout.splitlines()]
    loaded = models.load(Path("model"))
    content = (tmp_path / "cell.png").read_bytes()
    square = np.array(load_image(content, 32, loaded.card.images))
    logits = inference.predict_logits(loaded.network, square[None], device="cpu")
    expected = dict(zip(CLASSES, inference.probabilities(logits, 1.7)[0], strict=True))
    assert {name: float(p) for p, name in shown} == pytest.approx(expected, abs=1e-3)
    assert float(shown[0][0]) >= float(shown[1][0])


@pytest.mark.parametrize("mode", ["crop", "pad", "stretch"])
def test_the_example_makes_the_pixels_of_the_decoder(mode: str, tmp_path: Path) -> None:
    from pipeline.export.example import prepare

    images = factories.image_params(resize_mode=mode, background=(9, 8, 7))
    rule = cards.describe_preprocessing(factories.model_card(images=images)).model_dump()
    pixels = np.random.default_rng(3).integers(0, 256, (50, 31, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    expected = load_image((tmp_path / "clear.png").read_bytes(), 32, images)
    with Image.open(tmp_path / "clear.png") as image:
        found = prepare(image, rule)[0]
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_form_that_disagrees_is_removed_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compare = agreement.compare
    tables: list[int] = []

    def plant(*arguments: object) -> agreement.Agreement:
        """The second form, int8, keeps too few labels."""
        tables.append(1)
        found = compare(*arguments)  # type: ignore[arg-type]
        low = agreement.Agreement(found.images, 0.9, 0.0, 0.1)
        return low if len(tables) == 2 else found

    target = Path("refused")
    files.write_text(target / "model.int8.onnx", "of an earlier export")
    monkeypatch.setattr(agreement, "compare", plant)
    assert main(["export", "--trained", "--output", str(target)]) == 3
    shown = capsys.readouterr()
    assert "! model.int8.onnx was not written: 90.00% of " in shown.out
    assert "artifacts/train/model (" in shown.err
    names = {path.name for path in target.iterdir()}
    assert names == {"model.onnx", "card.json", "example.py"}
    card = cards.ExportedCard.model_validate_json((target / "card.json").read_bytes())
    assert [bool(form.refusal) for form in card.files] == [False, True]


def test_an_fp32_file_that_predicts_differently_is_an_error_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    chosen = save_model(Path("model"), CLASSES)
    with pytest.raises(PipelineError, match="nothing was written"):
        export.export(chosen, Path("nothing"))
    assert not Path("nothing").exists()


def test_a_model_of_other_classes_cannot_be_compared_here() -> None:
    chosen = save_model(Path("other"), ["lying", "sitting"])
    with pytest.raises(ChangedInput, match=r"classes that the model does not know \(standing\)"):
        export.export(chosen, Path("nothing"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PipelineError, match="the package onnxruntime is missing; run `make inst"):
        onnx_file.require_packages()
