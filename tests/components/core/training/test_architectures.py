"""Networks by name, their starting weights, and the optimizer's groups."""

from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from components.core.errors import InvalidParams
from components.core.training.architectures import (
    Architecture,
    ModelParams,
    build_network,
    head_name,
    load_backbone,
    param_groups_weight_decay,
    require_size,
)

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    """The state of a resnet18 for 1000 classes, as a downloaded file holds it."""
    torch.manual_seed(1)
    return dict(build_network("resnet18", 1000).state_dict())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_maps_images_to_one_logit_a_class(architecture: str) -> None:
    size = 224 if architecture == "vit_b_16" else 32
    network = build_network(architecture, 5).eval()
    head = network.get_submodule(head_name(architecture))
    assert isinstance(head, nn.Linear)
    assert head.out_features == 5
    with torch.inference_mode():
        logits = network(torch.zeros(1, 3, size, size))
    assert logits.shape == (1, 5)
    assert torch.isfinite(logits).all()


def test_a_network_is_laid_out_channels_last() -> None:
    kernel = build_network("resnet18", 2).get_parameter("layer1.0.conv1.weight")
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_the_head_stays_and_everything_else_is_replaced(trained: dict[str, Tensor]) -> None:
    torch.manual_seed(2)
    network = build_network("resnet18", 2)
    head = {n: t.clone() for n, t in network.state_dict().items() if n.startswith("fc.")}
    load_backbone(network, trained, "resnet18")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, head[name] if name in head else trained[name]), name
    assert len(head) == 2


def test_weights_without_a_head_are_enough(trained: dict[str, Tensor]) -> None:
    network = build_network("resnet18", 2)
    backbone = {n: t for n, t in trained.items() if not n.startswith("fc.")}
    load_backbone(network, backbone, "resnet18")
    assert torch.equal(network.state_dict()["conv1.weight"], trained["conv1.weight"])


def _without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {n: t for n, t in state.items() if n != name}


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda s: _without(s, "conv1.weight"), "conv1.weight is missing in the file; "),
        (lambda s: {**s, "extra.bias": torch.zeros(1)}, "extra.bias is unknown to the network; "),
        (
            lambda s: {**s, "bn1.bias": torch.zeros(65)},
            "bn1.bias has shape (65,), not (64,); ",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name_and_change_nothing(
    trained: dict[str, Tensor], damage: Any, problem: str
) -> None:
    network = build_network("resnet18", 2)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    with pytest.raises(InvalidParams) as refused:
        load_backbone(network, damage(trained), "resnet18")
    text = str(refused.value)
    assert text.startswith(f"params.yaml: model.weights: {problem}these are not the weights of ")
    assert text.endswith("resnet18. Set model.architecture to match the file.")
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_weights_of_another_architecture_are_refused(trained: dict[str, Tensor]) -> None:
    with pytest.raises(InvalidParams, match="these are not the weights of resnet34"):
        load_backbone(build_network("resnet34", 2), trained, "resnet34")


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small"])
def test_the_optimizer_gets_every_parameter_once_and_decays_only_matrices(
    architecture: str,
) -> None:
    network = build_network(architecture, 3)
    decayed, plain = param_groups_weight_decay(network, 0.07)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.07, 0.0)
    groups: list[list[Tensor]] = [decayed["params"], plain["params"]]  # type: ignore[list-item]
    names = {id(p): name for name, p in network.named_parameters()}
    given = [id(p) for group in groups for p in group]
    assert sorted(given) == sorted(names)
    assert all(p.ndim > 1 for p in groups[0])
    assert all("bias" in names[id(p)] or p.ndim == 1 for p in groups[1])
    assert "conv1.weight" not in {names[id(p)] for p in groups[1]}


def test_a_vision_transformer_takes_one_size_only() -> None:
    require_size("vit_b_16", 224)
    with pytest.raises(InvalidParams, match="vit_b_16 takes images of exactly 224 px, not 128"):
        require_size("vit_b_16", 128)


@pytest.mark.parametrize("size", [32, 128, 1024])
def test_convolutional_networks_take_any_size(size: int) -> None:
    refused = []
    for architecture in ARCHITECTURES:
        try:
            require_size(architecture, size)
        except InvalidParams:
            refused.append(architecture)
    assert refused == ["vit_b_16"]


def test_the_section_model_is_checked() -> None:
    ModelParams(architecture="resnet50", weights="my.pth", image_size=224)
    for change in (
        {"architecture": "resnet19"},
        {"weights": ""},
        {"image_size": 100},  # no multiple of 16
        {"image_size": 16},
        {"image_size": 2048},
        {"pretrained": True},
    ):
        values = {"architecture": "resnet18", "weights": "random", "image_size": 64, **change}
        with pytest.raises(ValidationError):
            ModelParams.model_validate(values)
