"""All settings of a training: as they are written, and resolved so that nothing is auto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.core.training.architectures import require_size
from components.core.training.inference import Device, Precision, resolve_device, resolve_precision
from components.core.training.presets import Augmentation, Preset
from components.core.training.schedule import balanced_weights, image_size_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# How far the loss makes up for rare classes: not at all, by the square root, in full.
_POWERS = {"none": 0.0, "root": 0.5, "balanced": 1.0}


class TrainingParams(BaseModel):
    """Section `training` of params.yaml: how tune and train both run their epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    preset: Literal["auto", "tiny", "small", "medium", "large"]
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=128)]
    augmentation: Literal["auto"] | Augmentation
    rotate_90: bool
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "root", "balanced"]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    progressive_resizing_start: Annotated[float, Field(ge=0.25, le=1)]
    device: Device
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that decides the outcome of a training, resolved: nothing is auto any more."""

    learning_rate: float
    epochs: int
    early_stopping: int
    batch_size: int
    augmentation: Augmentation
    rotate_90: bool
    weight_decay: float
    label_smoothing: float
    warmup_fraction: float
    ema_decay: float
    image_size: int
    progressive_resizing_start: float
    seed: int
    device: str
    precision: str
    class_weights: tuple[float, ...]


def resolve_config(
    training: TrainingParams,
    preset: Preset,
    *,
    architecture: str,
    learning_rate: float,
    epochs: int,
    early_stopping: int,
    image_size: int,
    labels: NDArray[np.int64],
    num_classes: int,
) -> TrainingConfig:
    """Resolve every `auto`: by the preset, by the labels, or by what the hardware can do.

    Raises:
        InvalidParams: the architecture cannot take a picture size of the plan.
    """
    for size in (
        image_size,
        image_size_at(1, epochs, image_size, training.progressive_resizing_start),
    ):
        require_size(architecture, size)
    device = resolve_device(training.device)
    batch_size, augmentation = training.batch_size, training.augmentation
    power = _POWERS[training.class_weights]
    return TrainingConfig(
        learning_rate=learning_rate,
        epochs=epochs,
        early_stopping=early_stopping,
        batch_size=preset.batch_size if batch_size == "auto" else batch_size,
        augmentation=preset.augmentation if augmentation == "auto" else augmentation,
        rotate_90=training.rotate_90,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        warmup_fraction=training.warmup_fraction,
        ema_decay=training.ema_decay,
        image_size=image_size,
        progressive_resizing_start=training.progressive_resizing_start,
        seed=training.seed,
        device=device,
        precision=resolve_precision(training.precision, device, architecture),
        class_weights=tuple(w**power for w in balanced_weights(labels, num_classes)),
    )
