"""Settings as written, resolved into a TrainingConfig in which nothing is auto."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from components.core.errors import InvalidParams
from components.core.training.config import TrainingConfig, TrainingParams, resolve_config
from components.core.training.presets import choose_preset

WRITTEN: dict[str, Any] = {
    "seed": 3,
    "preset": "auto",
    "batch_size": "auto",
    "augmentation": "auto",
    "horizontal_flip": "auto",
    "rotate_90": True,
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "warmup_fraction": 0.15,
    "class_weights": "balanced",
    "ema_decay": 0.5,
    "device": "cpu",
    "precision": "fp32",
    "deterministic": False,
}
LABELS = np.array([0, 0, 1, 0])
SMALL = choose_preset("small", 500, "imagenet")


def resolve(architecture: str = "resnet18", image_size: int = 64, **changes: Any) -> TrainingConfig:
    return resolve_config(
        TrainingParams.model_validate({**WRITTEN, **changes}),
        SMALL,
        architecture=architecture,
        learning_rate=2e-4,
        epochs=7,
        early_stopping=4,
        horizontal_flip=True,
        image_size=image_size,
        labels=LABELS,
        num_classes=2,
    )


def test_every_setting_arrives_under_its_own_name() -> None:
    assert resolve() == TrainingConfig(
        learning_rate=2e-4,
        epochs=7,
        early_stopping=4,
        batch_size=16,
        augmentation="heavy",
        horizontal_flip=True,
        rotate_90=True,
        weight_decay=0.05,
        label_smoothing=0.1,
        warmup_fraction=0.15,
        ema_decay=0.5,
        image_size=64,
        seed=3,
        device="cpu",
        precision="fp32",
        deterministic=False,
        class_weights=(4 / 6, 4 / 2),  # n / (2 n_class), of three and one
    )


def test_weights_of_classes_are_equal_when_they_are_not_asked_for() -> None:
    assert resolve(class_weights="none").class_weights == (1.0, 1.0)


def test_sqrt_lies_between_equal_and_balanced_weights() -> None:
    found = resolve(class_weights="sqrt").class_weights
    assert found == pytest.approx(((4 / 6) ** 0.5, (4 / 2) ** 0.5))


@pytest.mark.parametrize(("written", "found"), [("auto", True), (True, True), (False, False)])
def test_what_tune_found_about_the_flip_is_used_unless_it_is_set(written: Any, found: bool) -> None:
    assert resolve(horizontal_flip=written).horizontal_flip is found


def test_explicit_values_win_over_the_preset() -> None:
    found = resolve(batch_size=5, augmentation="none")
    assert (found.batch_size, found.augmentation) == (5, "none")


def test_device_and_precision_are_asked_of_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    found = resolve(device="auto", precision="auto")
    assert (found.device, found.precision) == ("cpu", "bf16")
    found = resolve(architecture="mobilenet_v3_small", device="auto", precision="auto")
    assert found.precision == "fp32"


def test_a_vision_transformer_needs_its_own_size() -> None:
    assert resolve("vit_b_16", image_size=224).image_size == 224
    with pytest.raises(InvalidParams, match=r"exactly 224 px, not 64; .*image_size to 224\.$"):
        resolve("vit_b_16", image_size=64)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"seed": 2**31},
        {"preset": "huge"},
        {"batch_size": 0},
        {"batch_size": 129},
        {"batch_size": 2.5},
        {"augmentation": "strong"},
        {"weight_decay": -0.1},
        {"label_smoothing": 1.0},
        {"warmup_fraction": 1.0},
        {"class_weights": "root"},
        {"ema_decay": 1.0},
        {"horizontal_flip": "maybe"},
        {"progressive_resizing_start": 1.0},
        {"weight_decay": float("nan")},
        {"weight_decay": float("inf")},
        {"rotate_90": "perhaps"},
        {"device": "tpu"},
        {"precision": "fp16"},
        {"momentum": 0.9},
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingParams.model_validate({**WRITTEN, **change})


def test_the_preset_is_the_only_thing_that_auto_means() -> None:
    training = TrainingParams.model_validate(WRITTEN)
    for tier in ("tiny", "medium", "large"):
        preset = choose_preset(tier, 5, "random")
        found = resolve_config(
            training,
            preset,
            architecture="resnet18",
            learning_rate=preset.learning_rate,
            epochs=1,
            early_stopping=1,
            horizontal_flip=False,
            image_size=32,
            labels=LABELS,
            num_classes=2,
        )
        assert (found.batch_size, found.augmentation) == (preset.batch_size, preset.augmentation)
