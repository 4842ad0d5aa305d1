"""All settings of a training: as they are written, and resolved so that nothing is auto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.core.training.architectures import require_size
from components.core.training.inference import Device, Precision, resolve_device, resolve_precision
from components.core.training.presets import Augmentation, Preset
from components.core.training.schedule import balanced_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Power of the balanced weight of each class: 1 for all, its square root, or the whole of it.
_POWERS = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}


class TrainingParams(BaseModel):
    """Section `training` of params.yaml: how tune and train both run their epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(ge=0, lt=2**31, description="Of initial weights, order and augmentation.")
    preset: Literal["auto", "tiny", "small", "medium", "large"] = Field(
        description="Starting settings; auto = by the number of training images."
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=128)] = Field(
        description="Images in one step of the optimizer; auto = the preset's."
    )
    augmentation: Literal["auto"] | Augmentation = Field(
        description="How strongly images are changed in each epoch; auto = the preset's."
    )
    horizontal_flip: Literal["auto"] | bool = Field(
        description="Also mirror images left to right; auto = tune compares both on val. "
        "With augmentation none nothing is mirrored or rotated."
    )
    rotate_90: bool = Field(description="Also rotate by 90, 180 and 270 degrees.")
    weight_decay: float = Field(
        ge=0, le=1, description="Of AdamW; norms and biases are not decayed."
    )
    label_smoothing: float = Field(
        ge=0, lt=1, description="Share of the target spread evenly over all classes."
    )
    warmup_fraction: float = Field(
        ge=0, lt=1, description="Share of all steps in which the learning rate rises."
    )
    class_weights: Literal["none", "sqrt", "balanced"] = Field(
        description="How much more rare classes count in the loss; balanced = n / (K * n_class)."
    )
    ema_decay: float = Field(
        ge=0, lt=1, description="Decay of the moving average of the weights, per step; 0 = off."
    )
    device: Device = Field(description="Where to train; auto = the GPU if there is one.")
    precision: Precision = Field(
        description="Number format of training; auto = bf16 where the hardware computes it."
    )
    deterministic: bool = Field(
        description="Equal runs give equal weights, to the byte; false = a GPU's fastest kernels, "
        "and a resumed or repeated run differs a little."
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that decides the outcome of a training, resolved: nothing is auto any more."""

    learning_rate: float
    epochs: int
    early_stopping: int
    batch_size: int
    augmentation: Augmentation
    horizontal_flip: bool
    rotate_90: bool
    weight_decay: float
    label_smoothing: float
    warmup_fraction: float
    ema_decay: float
    image_size: int
    seed: int
    device: str
    precision: str
    deterministic: bool
    class_weights: tuple[float, ...]


def resolve_config(
    training: TrainingParams,
    preset: Preset,
    *,
    architecture: str,
    learning_rate: float,
    epochs: int,
    early_stopping: int,
    horizontal_flip: bool,
    image_size: int,
    labels: NDArray[np.int64],
    num_classes: int,
) -> TrainingConfig:
    """Resolve every `auto`: by the preset, by the labels, or by what the hardware can do.

    Args:
        training: as written.
        preset: for the size of the data set.
        architecture: `model.architecture`.
        learning_rate: highest of the schedule.
        epochs: length of the schedule.
        early_stopping: patience.
        horizontal_flip: what auto means: the choice of tune, or the one that a trial is to try.
        image_size: side, pixels.
        labels: (N,) class indices of the train split.
        num_classes: K.

    Raises:
        InvalidParams: the architecture cannot take images of this size.
    """
    require_size(architecture, image_size)
    device = resolve_device(training.device)
    batch_size, augmentation = training.batch_size, training.augmentation
    flip = training.horizontal_flip
    power = _POWERS[training.class_weights]
    return TrainingConfig(
        learning_rate=learning_rate,
        epochs=epochs,
        early_stopping=early_stopping,
        batch_size=preset.batch_size if batch_size == "auto" else batch_size,
        augmentation=preset.augmentation if augmentation == "auto" else augmentation,
        horizontal_flip=horizontal_flip if flip == "auto" else flip,
        rotate_90=training.rotate_90,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        warmup_fraction=training.warmup_fraction,
        ema_decay=training.ema_decay,
        image_size=image_size,
        seed=training.seed,
        device=device,
        precision=resolve_precision(training.precision, device, architecture),
        deterministic=training.deterministic,
        class_weights=tuple(w**power for w in balanced_weights(labels, num_classes)),
    )
