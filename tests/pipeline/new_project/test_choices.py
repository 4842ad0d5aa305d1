"""Settings suit the data and the machine, and the gate can be passed on the expected test split."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.gate.foresight import HeldOut, expected_test_images, foresee
from pipeline.new_project.choices import choose
from pipeline.new_project.facts import Choice, Current, Data, Machine
from tests.factories import gate_policy

CPU = Machine(cpus=2, gpu=False, imagenet=False)


def data(
    images: dict[str, int], size: tuple[int, int] = (300, 200), share: float = 0.15, **changes: Any
) -> Data:
    values: dict[str, Any] = {
        "train": {name: round(0.7 * number) for name, number in images.items()},
        "test": {name: expected_test_images(number, share) for name, number in images.items()},
        "images": images,
        "sizes": [size] * 20,
        "test_share": share,
    }
    return Data(**values | changes)


def chosen(
    found: Data, machine: Machine = CPU, architecture: str = "resnet18", weights: str = "random"
) -> dict[str, Choice]:
    current = Current(architecture, weights, gate_policy())
    return {choice.key: choice for choice in choose("weld", found, machine, current)}


def value(found: Data, key: str, **changes: Any) -> object:
    return chosen(found, **changes)[key].value


MANY = {"cat": 2_000, "dog": 2_000}


@pytest.mark.parametrize(
    ("side", "machine", "size", "in_trials"),
    [
        (8, CPU, 64, 64),
        (64, CPU, 64, 64),
        (65, CPU, 96, 64),
        (112, CPU, 96, 64),
        (192, CPU, 128, 64),
        (193, CPU, 128, 64),
        (4_000, Machine(2, gpu=True, imagenet=False), 224, 112),
        # 2,800 images of 224 px for ten epochs: 36 minutes on two cores, 9 on eight
        (4_000, Machine(2, gpu=False, imagenet=True), 128, 64),
        (4_000, Machine(8, gpu=False, imagenet=True), 224, 112),
        (4_000, Machine(8, gpu=False, imagenet=False), 128, 64),
    ],
)
def test_the_image_size_follows_the_median_shorter_side_and_the_machine(
    side: int, machine: Machine, size: int, in_trials: int
) -> None:
    found = data(MANY, (2 * side, side))
    assert value(found, "model.image_size", machine=machine) == size
    assert value(found, "tune.image_size", machine=machine) == in_trials


def test_a_network_of_one_size_gets_it() -> None:
    found = data(MANY, (40, 40))
    assert value(found, "model.image_size", architecture="vit_b_16") == 224
    assert value(found, "tune.image_size", architecture="vit_b_16") == 224


def test_imagenet_weights_are_used_where_they_are_at_hand() -> None:
    with_file = Machine(2, gpu=False, imagenet=True)
    assert value(data(MANY), "model.weights", machine=with_file) == "imagenet"
    random = chosen(data(MANY))["model.weights"]
    assert random.value == "random"
    assert "the next run downloads it" in random.reason
    assert "model.weights" not in chosen(data(MANY), weights="mine.safetensors")


@pytest.mark.parametrize(("long", "mode"), [(2, "crop"), (3, "pad")])
def test_long_images_are_padded_when_they_are_more_than_a_tenth(long: int, mode: str) -> None:
    sizes = [(401, 200)] * long + [(400, 200)] * (20 - long)
    assert value(data(MANY, sizes=sizes), "data.resize_mode") == mode


def test_nothing_of_the_samples_is_left() -> None:
    found = chosen(data(MANY))
    assert found["register.model_name"].value == "weld"
    assert found["training.rotate_90"].value is False
    assert found["training.augmentation"].value == "auto"
    assert found["tune.epochs"].value == "auto"


@pytest.mark.parametrize(
    ("images", "weights"),
    [((100, 150), "none"), ((100, 200), "sqrt"), ((30, 3_000), "sqrt")],
)
def test_class_weights_follow_the_imbalance(images: tuple[int, int], weights: str) -> None:
    found = data(dict(zip("ab", images, strict=True)))
    assert value(found, "training.class_weights") == weights


@pytest.mark.parametrize(
    ("images", "share"),
    [
        ({"a": 700, "b": 700}, 1.0),  # 980 for training
        ({"a": 10_000, "b": 10_000}, 0.179),  # 2,500 of 14,000
        ({"a": 20_000, "b": 60}, 0.477),  # 20 of the 42 of b
        ({"a": 20_000, "b": 20}, 1.0),
    ],
)
def test_trials_see_some_thousand_images_and_enough_of_every_class(
    images: dict[str, int], share: float
) -> None:
    assert value(data(images), "tune.train_fraction") == share


def test_a_small_data_set_is_tuned_in_minutes_and_a_large_one_within_half_an_hour() -> None:
    assert value(data({"a": 40, "b": 40}), "tune.timeout_seconds") == 60
    assert value(data({"a": 40_000, "b": 40_000}), "tune.timeout_seconds") == 1_800


def test_bounds_are_the_usual_ones_where_the_images_are_enough() -> None:
    found = chosen(data({"a": 5_000, "b": 5_000}))
    assert {key: found[f"register.gate.{key}"].value for key in GATE} == {
        "min_accuracy": 0.51,
        "min_macro_f1": 0.35,  # always answering a: F1 of 2/3 and 0
        "min_class_recall": 0.5,
        "min_test_images": 200,
        "min_test_images_per_class": 50,
        "max_accuracy": 0.999,
        "non_inferiority_margin": 0.05,
    }


GATE = (
    "min_accuracy",
    "min_macro_f1",
    "min_class_recall",
    "min_test_images",
    "min_test_images_per_class",
    "max_accuracy",
    "non_inferiority_margin",
)


def test_a_bound_that_cannot_be_met_is_lowered_and_says_how_many_images_it_takes() -> None:
    found = chosen(data({"a": 100, "b": 60}))
    few = found["register.gate.min_test_images_per_class"]
    assert few.value == 7  # 80 % of 9
    assert few.reason == "about 9 of b are expected; 50 take 334 images of every class"
    assert found["register.gate.min_test_images"].reason.endswith("200 take 1,334 images")
    own = chosen(data({"a": 100, "b": 60}, test_share=None))
    assert own["register.gate.min_test_images"].reason.endswith("200 take 200 test images")


def test_too_few_images_to_tell_a_model_from_guessing_are_said() -> None:
    bound = chosen(data({"a": 950, "b": 50}))["register.gate.min_accuracy"]
    assert "always answering 'a' has 0.95" in bound.reason
    small = chosen(data({"a": 95, "b": 20}))["register.gate.min_accuracy"]
    assert small.reason.endswith("collect more")


@given(
    images=st.lists(st.integers(3, 3_000), min_size=2, max_size=30),
    share=st.sampled_from([0.1, 0.15, 0.3]),
)
def test_a_perfect_model_passes_with_the_chosen_bounds_even_if_a_fifth_is_dropped(
    images: list[int], share: float
) -> None:
    found = data({f"class {k}": number for k, number in enumerate(images)}, share=share)
    bounds = {
        key.removeprefix("register.gate."): choice.value
        for key, choice in chosen(found).items()
        if key.startswith("register.gate.")
    }
    policy = gate_policy(**bounds)
    assert foresee(policy, HeldOut(found.test, None, share)) == []
    fewer = {name: max(1, -(-number * 4 // 5)) for name, number in found.test.items()}
    assert foresee(policy, HeldOut(fewer, None, share)) == []
