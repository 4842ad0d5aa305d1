"""Where a network looked: Grad-CAM, a heat map of the evidence for one class in one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.core.training import augmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

# The last layer of each family that still has a place for every patch of the image. After the last
# block of a ViT only the class token is read, so its patches are taken where that block reads them.
_LAYERS = {
    "resnet": "layer4",
    "mobilenet": "features",
    "vit": "encoder.layers.encoder_layer_11.ln_1",
}
_AT_ONCE = 16  # images of one backward pass


def feature_layer(architecture: str) -> str:
    """Dotted name of the layer whose output `grad_cam` weighs."""
    return next(name for family, name in _LAYERS.items() if architecture.startswith(family))


def grad_cam(
    network: nn.Module,
    layer: str,
    pixels: NDArray[np.uint8],
    classes: NDArray[np.int64],
    *,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Heat maps (N, S, S): 0 where nothing speaks for the class, 1 where most does.

    A map shows where evidence lies, coarsely (7 x 7 patches of a ResNet's 224 px), not why; an
    image without any evidence for its class has a map of zeros. The network is put into eval mode.
    Source: Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2.

    Args:
        network: maps standardized (B, 3, S, S) to logits (B, K); lives on `device`.
        layer: of `feature_layer`; gives (B, C, H, W), or tokens (B, 1 + H * W, C).
        pixels: (N, S, S, 3).
        classes: (N,) whose evidence is wanted, mostly the predicted ones.
        device: where the network lives.
    """
    import torch

    network.eval()
    maps = [np.zeros((0, *pixels.shape[1:3]), np.float32)]
    for start in range(0, len(pixels), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        batch = augmentation.normalize(torch.from_numpy(pixels[part]).to(device))
        target = torch.from_numpy(classes[part]).to(device)
        maps.append(_maps(network, layer, batch, target).cpu().numpy())
    return np.concatenate(maps)


def _maps(network: nn.Module, layer: str, batch: Tensor, classes: Tensor) -> Tensor:
    import torch
    from torch.nn import functional

    seen: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda *of: seen.append(of[2]))
    try:
        with torch.enable_grad():
            logits = network(batch.requires_grad_())
            scores = logits.gather(1, classes[:, None]).sum()
            (gradients,) = torch.autograd.grad(scores, seen[0])
    finally:
        hook.remove()
    features, gradients = _as_planes(seen[0].detach()), _as_planes(gradients)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    found = (weights * features).sum(dim=1, keepdim=True).relu()
    found = functional.interpolate(found, batch.shape[2:], mode="bilinear")[:, 0]
    highest = found.amax(dim=(1, 2), keepdim=True)
    return found / highest.clamp_min(torch.finfo(found.dtype).tiny)


def _as_planes(features: Tensor) -> Tensor:
    """(B, C, H, W) of maps or of tokens, whose first is the class token."""
    if features.ndim == 4:
        return features
    side = round((features.shape[1] - 1) ** 0.5)
    return features[:, 1:].transpose(1, 2).reshape(len(features), -1, side, side)


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image (S, S, 3) in gray, orange where the map (S, S) is hot."""
    gray = pixels.astype(np.float32).mean(axis=2, keepdims=True)
    share = 0.75 * heat[:, :, None]
    mixed = (1 - share) * (0.35 * pixels + 0.65 * gray) + share * np.array(
        [255, 140, 0], np.float32
    )
    return np.asarray(mixed.round().clip(0, 255), np.uint8)
