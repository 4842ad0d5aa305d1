"""What is written beside and inside an exported model, for people and programs that use it."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from components.core.artifacts import ModelCard, Part, Share

Precision = Literal["fp32", "int8"]

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


class ExportedFile(Part):
    """One form of the model: how it agrees with the model itself on val, and what it costs."""

    name: str
    precision: Precision
    accepted: bool
    refusal: str = Field(description="Why it was not written; empty if it was.")
    sha256: str = Field(description="Empty if it was not written.")
    megabytes: float
    images: int = Field(description="Of val, that the next three were measured on.")
    same_labels: Share = Field(description="Share of images whose predicted class is the same.")
    macro_f1_loss: float
    max_probability_change: float
    p50_ms: float = Field(description="From pixels to probabilities: one image, one thread.")
    p95_ms: float


class ExportedCard(ModelCard):
    """The card beside the ONNX files: the model's own, and how images become its input."""

    preprocessing: Preprocessing
    model: str = Field(description="Name and version, or where it lay.")
    model_version: str = Field(description="Its number; empty if it was not registered.")
    model_digest: str = Field(description="Of the model folder, as in the registry.")
    verdict: str = Field(description="Of the gate, when it was exported.")
    files: list[ExportedFile]
    eager_p50_ms: float = Field(description="Of the model itself in torch, measured in turn.")
    eager_p95_ms: float
    machine: str = Field(description="That the times were measured on.")


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


def metadata(card: ExportedCard) -> dict[str, str]:
    """What travels inside the file: the values of an ONNX property are text, so this is JSON."""
    return {
        "class_names": json.dumps(card.class_names),
        "preprocessing": card.preprocessing.model_dump_json(),
        "temperature": json.dumps(card.temperature),
        "weights_sha256": card.weights_sha256,
        "model": card.model,
        "model_version": card.model_version,
        "model_digest": card.model_digest,
        "verdict": card.verdict,
    }
