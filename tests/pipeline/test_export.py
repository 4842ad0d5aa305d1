"""The ONNX twin of a small model."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from components.core.artifacts import ModelCard
from components.core.data.decoding import ImageParams, load_image
from components.core.errors import PipelineError
from components.core.training import inference
from components.core.training.architectures import build_network
from components.io import models
from pipeline import export
from tests import factories
from tests.image_files import encode


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = build_network("resnet18", 3)
    folder = tmp_path / "model"
    card = ModelCard(
        architecture="resnet18",
        class_names=["a", "b", "c"],
        image_size=32,
        images=ImageParams(
            formats=["PNG"],
            max_pixels=1000,
            white_level=None,
            multi_frame="refuse",
            background=(0, 0, 0),
            resize_mode="crop",
        ),
        temperature=1.7,
        weights_sha256=models.save_weights(folder, network.state_dict()),
        initial_weights="random",
        data_digest="0" * 64,
        training_key="0" * 64,
        settings={},
        best_epoch=1,
        val_loss=1.0,
    )
    models.save_card(folder, card)
    return folder


def test_the_exported_file_predicts_like_the_model_for_any_batch_size(
    model: Path, tmp_path: Path
) -> None:
    assert export.export_onnx(model, tmp_path / "out") <= export.TOLERANCE
    pixels = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx")
    found = session.run(None, {"pixels": pixels})[0]
    loaded = models.load(model)
    logits = inference.predict_logits(loaded.network, pixels, batch_size=2, device="cpu")
    assert np.abs(found - inference.probabilities(logits, 1.7)).max() < 1e-5
    card = export.ExportedCard.model_validate_json((tmp_path / "out/card.json").read_bytes())
    assert ModelCard(**card.model_dump(exclude={"preprocessing"})) == loaded.card
    inside = session.get_modelmeta().custom_metadata_map
    assert json.loads(inside["class_names"]) == ["a", "b", "c"]
    assert export.Preprocessing.model_validate_json(inside["preprocessing"]) == card.preprocessing
    assert card.preprocessing == export.describe_preprocessing(loaded.card)


def triangle(source: int, size: int, start: float, side: float) -> NDArray[np.float64]:
    """The weights of the filter as the card words it: (size, source), rows sum to 1."""
    scale = side / size
    radius = max(1.0, scale)
    centers = start + (np.arange(size)[:, None] + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(source) + 0.5 - centers) / radius, 0, None)
    normalized: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalized


@pytest.mark.parametrize("shape", [(75, 48), (48, 75), (20, 31), (300, 41)])
@pytest.mark.parametrize("resize_mode", ["crop", "pad", "stretch"])
def test_the_words_of_the_card_are_enough_to_make_the_same_pixels(
    shape: tuple[int, int], resize_mode: Literal["crop", "pad", "stretch"]
) -> None:
    images = factories.image_params(resize_mode=resize_mode, background=(9, 8, 7))
    card = factories.model_card(images=images, image_size=32)
    told = export.describe_preprocessing(card)
    assert told.resize_mode in ("crop", "pad", "stretch")
    size = told.size
    width, height = shape
    source = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    box, inner = (0.0, 0.0, width, height), (size, size)
    if told.resize_mode == "crop":
        side = min(shape)
        box = ((width - side) / 2, (height - side) / 2, side, side)
    if told.resize_mode == "pad":
        scale = size / max(shape)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    columns = triangle(width, inner[0], box[0], box[2])
    rows = triangle(height, inner[1], box[1], box[3])
    resized = np.einsum("jx,yxc->yjc", columns, source).round()
    resized = np.einsum("iy,yjc->ijc", rows, resized).round()
    expected = np.full((size, size, 3), told.background, float)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    expected[top : top + inner[1], left : left + inner[0]] = resized
    found = load_image(encode(Image.fromarray(source), "PNG"), size, images)
    assert np.abs(found - expected).max() <= 1


def test_a_file_that_predicts_differently_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(PipelineError, match="nothing was written"):
        export.export_onnx(model, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
