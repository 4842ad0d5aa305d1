"""Training images on the device, here the CPU with memory of its own."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.core.training import resident
from components.core.training.inference import ImageArray
from components.core.training.loop import Epoch, LabeledImages, fit
from components.core.training.subset import Subset
from tests.factories import training_config

PIXELS = np.random.default_rng(0).integers(0, 256, (600, 16, 16, 3), dtype=np.uint8)
BYTES = PIXELS.size


@pytest.mark.parametrize(("free", "fits"), [(4 * BYTES, True), (4 * BYTES - 1, False), (0, False)])
def test_images_are_moved_if_they_take_at_most_a_quarter(
    monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    monkeypatch.setattr(resident, "free_memory", lambda _device: free)
    moved = resident.move_images(Subset(PIXELS, np.arange(600)), "cpu")
    assert (moved is not None) is fits
    if moved is not None:
        assert np.array_equal(moved.numpy(), PIXELS)


def test_a_cpu_has_the_images_already(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resident.free_memory("cpu") == 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (5, 9))
    assert resident.free_memory("cuda") == 5


class Watched:
    """Images that note how often they are read."""

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        part: NDArray[np.uint8] = PIXELS[:24][index]
        self.read += len(part)
        return part


def train(pixels: ImageArray) -> tuple[list[Epoch], dict[str, Tensor]]:
    labels = np.arange(24, dtype=np.int64) % 2
    config = training_config(epochs=3, image_size=16, batch_size=7, augmentation="heavy")
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network = nn.Sequential(*layers)
    val = LabeledImages(PIXELS[:8], labels[:8])
    return list(fit(network, LabeledImages(pixels, labels), val, config)), network.state_dict()


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_a_training_is_the_same_from_there_and_reads_each_image_once(
    monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    expected, weights = train(PIXELS[:24])
    monkeypatch.setattr(resident, "free_memory", lambda _device: free)
    watched = Watched()
    found, moved = train(watched)
    assert found == expected
    assert all(torch.equal(moved[name], values) for name, values in weights.items())
    assert watched.read == (1 + 24 if free else 1 + 3 * 24)  # one to see the size
