"""Write and run ONNX files: fp32 by torch, int8 by onnxruntime's static quantization."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.errors import PipelineError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from components.core.training.inference import ImageArray

_OPSET = 20
_AT_ONCE = 32  # images of one call

# Of val, evenly chosen: the ranges of activations hardly move with more.
_CALIBRATION_IMAGES = 256

# What has weights or passes 8 bits on. The mean over the last maps and the softmax stay in fp32:
# 256 steps are too few for them (docs/decisions/0070).
_QUANTIZED = ["Conv", "Gemm", "MatMul", "Add", "MaxPool"]


def require_packages() -> None:
    """Raise `PipelineError` unless the extra is installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 - torch.onnx needs it and would say so at length
    except ImportError as error:
        raise PipelineError(
            f"export: the package {error.name} is missing; run `make install`, or install the "
            "project with its extra `export`."
        ) from error


def complete_network(network: nn.Module, temperature: float) -> nn.Module:
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


def write_fp32(network: nn.Module, size: int, path: Path) -> None:
    """Write a complete network that takes (N, size, size, 3) uint8, for any N >= 1."""
    import torch

    pixels = torch.zeros((3, size, size, 3), dtype=torch.uint8)
    with _quiet():
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


def write_int8(fp32: Path, pixels: ImageArray, path: Path) -> None:
    """Write the network of the file `fp32` with 8-bit weights, per channel, and activations.

    Static quantization: the ranges of activations are those on `pixels`, found once.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference"; as onnxruntime.quantization does it.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._parts = _parts(pixels, max(1, len(pixels) // _CALIBRATION_IMAGES))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            part = next(self._parts, None)
            return None if part is None else {"pixels": part}

    prepared = path.with_name("prepared.onnx")
    with _quiet():
        quant_pre_process(fp32, prepared)  # folds batch norm into the convolutions
        quantization.quantize_static(
            prepared,
            path,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # Of single images: a range that one of them needs costs all others precision.
            extra_options={"CalibMovingAverage": True},
        )


def set_metadata(path: Path, properties: Mapping[str, str]) -> None:
    """Put text into the file, where every reader of ONNX finds it."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(properties))
    onnx.save(model, path)


def open_session(path: Path, threads: int = 0) -> Any:
    """A session of onnxruntime on the CPU; 0 threads = all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def predict(path: Path, pixels: ImageArray) -> NDArray[np.float64]:
    """Probabilities (N, K) of the file."""
    session = open_session(path)
    rows = [session.run(None, {"pixels": part})[0] for part in _parts(pixels)]
    return np.concatenate(rows).astype(np.float64)


def _parts(pixels: ImageArray, step: int = 1) -> Iterator[NDArray[np.uint8]]:
    chosen = np.arange(0, len(pixels), step)
    for start in range(0, len(chosen), _AT_ONCE):
        yield np.ascontiguousarray(pixels[chosen[start : start + _AT_ONCE]])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the chatter of the exporters, which tells a user nothing to do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            Path(os.devnull).open("w") as nothing,
            contextlib.redirect_stdout(nothing),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
