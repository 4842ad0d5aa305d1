"""The ONNX twin of a small model."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from components.core.artifacts import ModelCard
from components.core.data.decoding import ImageParams
from components.core.errors import PipelineError
from components.core.training import inference
from components.core.training.architectures import build_network
from components.io import models
from pipeline import export


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
    assert models.load_card(tmp_path / "out") == loaded.card


def test_a_file_that_predicts_differently_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(PipelineError, match="nothing was written"):
        export.export_onnx(model, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
