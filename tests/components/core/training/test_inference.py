"""Logits that depend on the images alone, probabilities, temperature, device and precision."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from components.core.errors import InvalidParams
from components.core.training.augmentation import normalize, resize
from components.core.training.inference import (
    predict_logits,
    probabilities,
    resolve_device,
    resolve_precision,
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """BatchNorm with statistics of its own and dropout: train and eval mode differ."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    network(torch.randn(16, 3, 8, 8) * 3 + 1)  # move the running statistics away from 0 and 1
    return network


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)


def test_predictions_are_those_of_the_network_in_order(
    network: nn.Module, pixels: NDArray[np.uint8]
) -> None:
    found = predict_logits(network, pixels, batch_size=4, device="cpu")
    with torch.inference_mode():
        one_by_one = [network.eval()(normalize(torch.from_numpy(p[None]))) for p in pixels]
    assert found.shape == (11, 3)
    assert found.dtype == np.float32
    assert np.allclose(found, torch.cat(one_by_one).numpy(), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10, 11, 500])
def test_predictions_do_not_depend_on_the_batch_size(
    network: nn.Module, pixels: NDArray[np.uint8], batch_size: int
) -> None:
    whole = predict_logits(network, pixels, batch_size=11, device="cpu")
    found = predict_logits(network, pixels, batch_size=batch_size, device="cpu")
    assert np.allclose(found, whole, atol=1e-6)


def test_predictions_do_not_depend_on_the_mode_that_the_caller_left(
    network: nn.Module, pixels: NDArray[np.uint8]
) -> None:
    network.eval()
    expected = predict_logits(network, pixels, batch_size=4, device="cpu")
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert np.array_equal(predict_logits(network, pixels, batch_size=4, device="cpu"), expected)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_images_are_resized_before_the_network_sees_them(
    network: nn.Module, pixels: NDArray[np.uint8]
) -> None:
    small = predict_logits(network, pixels, batch_size=4, device="cpu", image_size=8)
    with torch.inference_mode():
        expected = network.eval()(resize(normalize(torch.from_numpy(pixels)), 8))
    assert np.allclose(small, expected.numpy(), atol=1e-6)


def test_bf16_gives_nearly_the_same_logits_as_float32_numbers(
    network: nn.Module, pixels: NDArray[np.uint8]
) -> None:
    exact = predict_logits(network, pixels, batch_size=4, device="cpu")
    rough = predict_logits(network, pixels, batch_size=4, device="cpu", precision="bf16")
    assert rough.dtype == np.float32
    assert np.allclose(rough, exact, atol=0.05)
    assert not np.array_equal(rough, exact)


def test_no_gradients_are_kept(pixels: NDArray[np.uint8]) -> None:
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            seen.append(self.linear(images.mean(dim=(2, 3))))
            return seen[-1]

    predict_logits(Watched(), pixels, batch_size=20, device="cpu")
    assert not seen[0].requires_grad


def test_probabilities_of_two_logits_by_hand() -> None:
    found = probabilities(np.array([[math.log(3), 0.0]], np.float32), 1.0)
    assert found[0].tolist() == pytest.approx([0.75, 0.25])
    # At temperature 2 the odds are the square root of 3.
    halved = probabilities(np.array([[math.log(3), 0.0]], np.float32), 2.0)
    assert halved[0, 0] / halved[0, 1] == pytest.approx(math.sqrt(3))


LOGITS = st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=3, max_size=3)


@given(rows=st.lists(LOGITS, min_size=1, max_size=5), temperature=st.floats(0.05, 20))
def test_probabilities_of_any_finite_logits_sum_to_one(
    rows: list[list[float]], temperature: float
) -> None:
    found = probabilities(np.array(rows, np.float32), temperature)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert np.allclose(found.sum(axis=1), 1.0, rtol=0, atol=1e-12)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def pretend(available: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: available)

    return pretend


@pytest.mark.row("R15")
def test_a_gpu_that_is_not_there_is_refused_in_one_line(gpu: Callable[[bool], None]) -> None:
    gpu(False)
    with pytest.raises(InvalidParams) as refused:
        resolve_device("cuda")
    text = str(refused.value)
    assert text.startswith("params.yaml: training.device is cuda, but no usable GPU was found; ")
    assert "\n" not in text


@pytest.mark.row("R15")
def test_auto_takes_the_gpu_when_there_is_one(gpu: Callable[[bool], None]) -> None:
    gpu(True)
    assert [resolve_device(d) for d in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    gpu(False)
    assert [resolve_device(d) for d in ("auto", "cpu")] == ["cpu", "cpu"]


@pytest.mark.parametrize(
    ("capabilities", "architecture", "expected"),
    [
        ({"avx512_bf16": True}, "resnet18", "bf16"),
        ({"amx_bf16": True}, "vit_b_16", "bf16"),
        ({"avx512_bf16": False, "amx_bf16": False}, "resnet18", "fp32"),
        ({}, "resnet18", "fp32"),
        ({"avx512_bf16": True}, "mobilenet_v3_small", "fp32"),
    ],
)
def test_on_a_cpu_auto_is_bf16_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch,
    capabilities: dict[str, bool],
    architecture: str,
    expected: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", "cpu", architecture) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_on_a_gpu_auto_is_bf16_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    def supported(including_emulation: bool) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve_precision("auto", "cuda", "resnet18") == expected
    assert resolve_precision("auto", "cuda", "mobilenet_v3_small") == expected


def test_an_explicit_precision_wins() -> None:
    assert resolve_precision("fp32", "cuda", "resnet18") == "fp32"
    assert resolve_precision("bf16", "cpu", "mobilenet_v3_small") == "bf16"


def test_auto_is_resolved_on_this_machine() -> None:
    assert resolve_precision("auto", resolve_device("cpu"), "resnet18") in ("fp32", "bf16")
