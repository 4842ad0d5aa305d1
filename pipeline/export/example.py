"""Predict with an exported model; needs onnxruntime, numpy and Pillow, nothing else.

    python example.py cell.png                  # model.onnx beside this file
    python example.py cell.png model.int8.onnx

For 8-bit images without a color profile of their own; card.json says what else happens to others.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def prepare(image: Image.Image, rule: dict[str, Any]) -> np.ndarray:
    """An image as the network's input: (1, S, S, 3) uint8, by the rule inside the model file."""
    size, background = rule["size"], tuple(rule["background"])
    image = ImageOps.exif_transpose(image)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        opaque = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(opaque, image)
    image, bilinear = image.convert("RGB"), Image.Resampling.BILINEAR
    if rule["resize_mode"] == "stretch":
        square = image.resize((size, size), bilinear)
    elif rule["resize_mode"] == "crop":
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        square = image.resize((size, size), bilinear, box=box)
    else:
        scale = size / max(image.size)
        inner = [max(1, round(length * scale)) for length in image.size]
        square = Image.new("RGB", (size, size), background)
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        square.paste(image.resize(inner, bilinear), corner)
    return np.asarray(square)[None]


def main() -> None:
    """Print the probability of each class, the largest first."""
    name = sys.argv[2] if len(sys.argv) > 2 else "model.onnx"
    session = onnxruntime.InferenceSession(
        Path(__file__).with_name(name), providers=["CPUExecutionProvider"]
    )
    inside = session.get_modelmeta().custom_metadata_map
    with Image.open(sys.argv[1]) as image:
        pixels = prepare(image, json.loads(inside["preprocessing"]))
    probabilities = session.run(None, {"pixels": pixels})[0][0]
    for k in np.argsort(-probabilities):
        print(f"{probabilities[k]:.4f}  {json.loads(inside['class_names'])[k]}")


if __name__ == "__main__":
    main()
