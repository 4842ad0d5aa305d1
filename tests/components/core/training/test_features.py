import numpy as np
import pytest
import torch

from components.core.training.architectures import build_network, head_name
from components.core.training.features import extract, nearest
from components.core.training.inference import predict_logits


@pytest.mark.parametrize(("architecture", "size"), [("resnet18", 32), ("mobilenet_v3_small", 32)])
def test_the_head_makes_the_logits_of_the_features(architecture: str, size: int) -> None:
    torch.manual_seed(0)
    network = build_network(architecture, 3)
    pixels = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    features, logits = extract(network, architecture, pixels, device="cpu")
    with torch.inference_mode():
        head = network.get_submodule(head_name(architecture))
        assert np.allclose(head(torch.from_numpy(features)), logits, atol=1e-5)
    assert np.array_equal(logits, predict_logits(network, pixels, device="cpu"))
    assert not network.get_submodule(head_name(architecture))._forward_pre_hooks


def test_the_most_similar_come_first_whatever_their_length() -> None:
    others = np.array([[0, 1], [5, 0], [1, 1], [-1, 0], [0, 0]], dtype=np.float32)
    indices, similarities = nearest(np.array([2, 0], dtype=np.float32), others, 3)
    assert indices.tolist() == [1, 2, 0]
    assert similarities == pytest.approx([1.0, 0.5**0.5, 0.0])


def test_fewer_images_than_asked_for_are_all_of_them() -> None:
    one = np.array([[1.0]], dtype=np.float32)
    assert nearest(one[0], one, 5)[0].tolist() == [0]
