"""All settings of a training: as they are written, and resolved so that nothing is auto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.core.inference import Device, Precision, resolve_device, resolve_precision
from components.core.model import require_size
from components.core.presets import Augmentation, Preset
from components.core.schedule import balanced_weights, size_at

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
    any_way_up: bool
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "root", "balanced"]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    first_image_size: Annotated[float, Field(ge=0.25, le=1)]
    device: Device
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the outcome of a training, resolved: nothing is auto any more."""

    learning_rate: float
    epochs: int
    early_stopping: int
    batch_size: int
    augmentation: Augmentation
    any_way_up: bool
    weight_decay: float
    label_smoothing: float
    warmup: float
    ema_decay: float
    image_size: int
    first_image_size: float
    seed: int
    device: str
    precision: str
    class_weights: tuple[float, ...]


def make_plan(
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
) -> Plan:
    """Resolve every `auto`: by the preset, by the labels, or by what the hardware can do.

    Raises:
        InvalidParams: the architecture cannot take a picture size of the plan.
    """
    for size in (image_size, size_at(1, epochs, image_size, training.first_image_size)):
        require_size(architecture, size)
    device = resolve_device(training.device)
    batch_size, augmentation = training.batch_size, training.augmentation
    power = _POWERS[training.class_weights]
    return Plan(
        learning_rate=learning_rate,
        epochs=epochs,
        early_stopping=early_stopping,
        batch_size=preset.batch_size if batch_size == "auto" else batch_size,
        augmentation=preset.augmentation if augmentation == "auto" else augmentation,
        any_way_up=training.any_way_up,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        warmup=training.warmup,
        ema_decay=training.ema_decay,
        image_size=image_size,
        first_image_size=training.first_image_size,
        seed=training.seed,
        device=device,
        precision=resolve_precision(training.precision, device, architecture),
        class_weights=tuple(w**power for w in balanced_weights(labels, num_classes)),
    )
