"""The trained model as one ONNX file: uint8 pixels in, calibrated probabilities out.

Standardization and temperature are inside the file, so that a consumer only decodes, orients and
resizes an image as the card beside it says. Nothing is written unless onnxruntime gives the same
probabilities as the model itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import PipelineError
from components.io import files, models

if TYPE_CHECKING:
    from torch import Tensor, nn

# fp32 sums in another order: 3e-7 was measured
TOLERANCE = 1e-5
_OPSET = 20


def export_onnx(model: Path, folder: Path) -> float:
    """Write `folder`/model.onnx and card.json from a model folder.

    Input `pixels`: (N, S, S, 3) uint8. Output `probabilities`: (N, K) float32.

    Returns:
        The largest difference in probability between the two on random images.

    Raises:
        PipelineError: the extra is not installed, or the difference is above `TOLERANCE`.
    """
    import torch

    loaded = models.load(model)
    size = loaded.card.image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (3, size, size, 3), generator=generator, dtype=torch.uint8)
    network = _complete_network(loaded.network, loaded.card.temperature)
    with files.replacing(folder / "model.onnx") as temporary:
        difference = _export(network, pixels, temporary)
        if not difference <= TOLERANCE:
            raise PipelineError(
                f"export: onnxruntime and the model differ by {difference:.1e} in probability, "
                f"more than {TOLERANCE:.0e}; nothing was written. Please report it."
            )
    models.save_card(folder, loaded.card)
    return difference


def _complete_network(network: nn.Module, temperature: float) -> nn.Module:
    """The network with standardization before it and calibrated softmax after it."""
    from torch import nn

    from components.core.training import augmentation

    class CompleteNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.network(augmentation.normalize(pixels))
            return (logits / temperature).softmax(dim=1)

    return CompleteNetwork().eval()


def _export(network: nn.Module, pixels: Tensor, path: Path) -> float:
    """Write the file; return the largest difference in probability on `pixels`."""
    import torch

    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it and would say so at length
    except ImportError as error:
        raise PipelineError(
            f"export: the package {error.name} is missing; run `make install`, or install the "
            "project with its extra `export`."
        ) from error
    torch.onnx.export(
        network,
        (pixels,),
        path,
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
        opset_version=_OPSET,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])
    with torch.inference_mode():
        return float((network(pixels) - found).abs().max())
