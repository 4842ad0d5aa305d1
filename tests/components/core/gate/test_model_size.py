"""The weight of a model is known before it is built."""

from typing import get_args

import pytest

from components.core.gate.model_size import weights_megabytes
from components.core.training.architectures import Architecture


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_the_stated_weight_is_that_of_the_network(architecture: str) -> None:
    import torch
    from torchvision import models

    with torch.device("meta"):
        network = models.get_model(architecture, weights=None, num_classes=7)
    tensors = network.state_dict().values()
    assert (
        weights_megabytes(architecture, 7)
        == sum(t.numel() * t.element_size() for t in tensors) / 1e6
    )
