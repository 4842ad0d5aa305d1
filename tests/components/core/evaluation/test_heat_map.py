"""Grad-CAM by hand on a network of one layer, and on every family of networks."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.core.evaluation.heat_map import feature_layer, grad_cam, overlay
from components.core.training.architectures import build_network


class _TwoSpots(nn.Module):
    """Class 0 is the mean of red, class 1 that of green minus blue."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.head = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, -1]]))

    def forward(self, batch: Tensor) -> Tensor:
        means: Tensor = self.head(self.features(batch).mean(dim=(2, 3)))
        return means


def _spots() -> NDArray[np.uint8]:
    pixels = np.full((1, 8, 8, 3), 110, np.uint8)
    pixels[0, 1, 2, 0] = 255
    pixels[0, 6, 5, 1] = 255
    return pixels


def test_each_class_has_its_own_spot() -> None:
    pixels = np.repeat(_spots(), 2, axis=0)
    red, green = grad_cam(_TwoSpots(), "features", pixels, np.array([0, 1]))
    assert np.unravel_index(red.argmax(), red.shape) == (1, 2)
    assert np.unravel_index(green.argmax(), green.shape) == (6, 5)
    assert red.max() == green.max() == 1


def test_the_map_is_the_weighted_sum_of_the_planes() -> None:
    pixels = _spots()
    found = grad_cam(_TwoSpots(), "features", pixels, np.array([1]))[0]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    planes = (pixels[0] / 255 - mean) / std
    by_hand = np.maximum(planes[:, :, 1] - planes[:, :, 2], 0)
    np.testing.assert_allclose(found, by_hand / by_hand.max(), atol=1e-5)


def test_no_evidence_is_a_map_of_zeros() -> None:
    black = np.zeros((1, 8, 8, 3), np.uint8)
    assert not grad_cam(_TwoSpots(), "features", black, np.array([0])).any()


def test_no_image_is_no_map() -> None:
    none = np.zeros((0, 8, 8, 3), np.uint8)
    assert grad_cam(_TwoSpots(), "features", none, np.zeros(0, np.int64)).shape == (0, 8, 8)


def test_batches_do_not_change_a_map() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (18, 8, 8, 3), np.uint8)
    classes = np.arange(18) % 2
    together = grad_cam(_TwoSpots(), "features", pixels, classes)
    alone = [
        grad_cam(_TwoSpots(), "features", pixels[i : i + 1], classes[i : i + 1])[0]
        for i in range(18)
    ]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "size"), [("resnet18", 64), ("mobilenet_v3_small", 64), ("vit_b_16", 224)]
)
def test_every_family_has_maps_and_keeps_no_hook(architecture: str, size: int) -> None:
    torch.manual_seed(0)
    network = build_network(architecture, 3).requires_grad_(False)
    if architecture == "vit_b_16":  # torchvision starts its head at zero: nothing has a gradient
        nn.init.normal_(network.get_submodule("heads.head").weight)  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 255, (2, size, size, 3), np.uint8)
    layer = feature_layer(architecture)
    with torch.inference_mode(False):
        maps = grad_cam(network, layer, pixels, np.array([0, 2]))
    assert maps.shape == (2, size, size)
    assert maps.min() >= 0
    assert maps.max() == 1
    assert not network.get_submodule(layer)._forward_hooks


def test_an_overlay_is_gray_where_cold_and_orange_where_hot() -> None:
    pixels = np.full((2, 2, 3), 100, np.uint8)
    shown = overlay(pixels, np.array([[0, 1], [0, 0]], np.float32))
    assert shown[0, 0].tolist() == [100, 100, 100]
    assert shown[0, 1].tolist() == [216, 130, 25]
