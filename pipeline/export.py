"""The trained model as one ONNX file: uint8 pixels in, calibrated probabilities out.

Standardization and temperature are inside the file, so that a consumer only decodes, orients and
resizes an image as the card beside it says, and the metadata of the file itself. Nothing is written
unless onnxruntime gives the same probabilities as the model itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.core.artifacts import ModelCard, Part
from components.core.errors import PipelineError
from components.io import files, models

if TYPE_CHECKING:
    from torch import Tensor, nn

# fp32 sums in another order: 3e-7 was measured
TOLERANCE = 1e-5
_OPSET = 20

_RULES = {
    "crop": "The box of the source to resize, which may begin at half a pixel: side = min(W, H), "
    "from ((W - side) / 2, (H - side) / 2), of side x side. It becomes S x S.",
    "stretch": "All of the source, W x H, becomes S x S; the aspect ratio is ignored.",
    "pad": "scale = S / max(W, H); all of the source becomes max(1, round(W * scale)) x "
    "max(1, round(H * scale)), halves rounded to even, and is put at ((S - width) // 2, "
    "(S - height) // 2) on S x S of the background.",
}


class Preprocessing(Part):
    """What a consumer of the ONNX file does with an image before it, and what is done inside."""

    decode: str = Field(description="From bytes to pixels.")
    input: str = Field(description="Type, shape, channel order and range of the input `pixels`.")
    channel_order: Literal["RGB"] = "RGB"
    layout: Literal["NHWC"] = "NHWC"
    size: int = Field(description="S, the side of the square input, pixels.")
    resize_mode: Literal["crop", "pad", "stretch"]
    resize_rule: str = Field(description="From W x H pixels of the source to S x S.")
    interpolation: Literal["bilinear"] = "bilinear"
    antialias: Literal[True] = True
    filter: str = Field(description="The filter, in words and in the call of a library.")
    background: tuple[int, int, int] = Field(description="RGB, of `pad` and of transparency.")
    standardization: str = Field(description="Done inside the file.")
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: str


class ExportedCard(ModelCard):
    """The card beside the ONNX file: the model's own, and how images become its input."""

    preprocessing: Preprocessing


def describe_preprocessing(card: ModelCard) -> Preprocessing:
    """The steps before and inside the ONNX file, in words that need no look at this code."""
    from components.core.training.augmentation import MEAN, STD

    images, size = card.images, card.image_size
    return Preprocessing(
        decode="Turned upright as EXIF says; color profiles to sRGB, relative colorimetric; "
        f"transparency composited on RGB {list(images.background)}; gray repeated in 3 channels; "
        f"16 bits to 8 by {images.white_level or 65_535} = 255.",
        input=f"uint8, (N, {size}, {size}, 3): rows from the top, RGB, 0 to 255.",
        size=size,
        resize_mode=images.resize_mode,
        resize_rule=_RULES[images.resize_mode],
        filter="Triangle (bilinear) with antialias: a result pixel is the weighted mean of the "
        "source pixels whose centers are nearer to its own than r = max(1, source side / result "
        "side) pixels, weight 1 - distance / r; over columns, rounded to 8 bits, then over rows. "
        "In Pillow: image.resize((S, S), Resampling.BILINEAR, box=box). Bilinear without "
        "antialias, as OpenCV's INTER_LINEAR, gives other predictions.",
        background=images.background,
        standardization="(pixels / 255 - mean) / std, inside the file: feed 0 to 255.",
        mean=MEAN,
        std=STD,
        output="probabilities, float32, (N, K): softmax(logits / temperature), in the order of "
        "class_names.",
    )


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
    preprocessing = describe_preprocessing(loaded.card)
    card = ExportedCard(**loaded.card.model_dump(), preprocessing=preprocessing)
    with files.replacing(folder / "model.onnx") as temporary:
        difference = _export(network, pixels, temporary, card)
        if not difference <= TOLERANCE:
            raise PipelineError(
                f"export: onnxruntime and the model differ by {difference:.1e} in probability, "
                f"more than {TOLERANCE:.0e}; nothing was written. Please report it."
            )
    models.save_card(folder, card)
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


def _export(network: nn.Module, pixels: Tensor, path: Path, card: ExportedCard) -> float:
    """Write the file; return the largest difference in probability on `pixels`."""
    import torch

    try:
        import onnx
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
    exported = onnx.load(path)
    onnx.helper.set_model_props(exported, _metadata(card))
    onnx.save(exported, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])
    with torch.inference_mode():
        return float((network(pixels) - found).abs().max())


def _metadata(card: ExportedCard) -> dict[str, str]:
    """What travels inside the file: the values of an ONNX property are text, so this is JSON."""
    return {
        "class_names": json.dumps(card.class_names),
        "preprocessing": card.preprocessing.model_dump_json(),
        "temperature": json.dumps(card.temperature),
        "weights_sha256": card.weights_sha256,
    }
