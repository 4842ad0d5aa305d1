"""The table of advice, row by row, and that it names a setting only where one goes against it."""

from dataclasses import replace

import pytest

from pipeline.forecast.advice import Facts, advise

# Nothing applies but the row of the batch.
CPU = Facts(
    train=500,
    architecture="resnet18",
    batch_size=8,
    augmentation="standard",
    max_model_mb=None,
    gpu_gib=None,
    train_image=0.01,
    small_batch=None,
)
GPU = replace(CPU, gpu_gib=15.7, batch_size=32)


def settings(facts: Facts) -> list[str]:
    """What would follow the table."""
    return [each.setting for each in advise(facts) if each.setting]


def texts(facts: Facts) -> str:
    return " | ".join(each.text for each in advise(facts))


@pytest.mark.parametrize(
    ("gib", "low", "high"),
    [(2.0, 8, 16), (3.8, 8, 16), (7.8, 32, 64), (15.7, 64, 128), (139.0, 64, 128)],
)
def test_batches_follow_the_memory_of_the_gpu(gib: float, low: int, high: int) -> None:
    facts = replace(GPU, gpu_gib=gib, batch_size=high)
    assert f"takes batches of {low} to {high}, here {high}" in texts(facts)
    assert settings(facts) == []
    larger = replace(facts, batch_size=high + 1)
    assert settings(larger) == [f"training.batch_size: {high}"]


def test_a_batch_below_what_fits_a_gpu_is_no_mistake() -> None:
    assert settings(replace(GPU, batch_size=4)) == []


def test_a_cpu_takes_small_batches_or_what_is_measured_faster() -> None:
    assert "a CPU takes batches of 4 to 8" in texts(CPU)
    faster = replace(CPU, batch_size=32, train_image=0.01, small_batch=0.02)
    assert "here 32: 100 images/s, in batches of 8 50" in texts(faster)
    assert settings(faster) == []
    slower = replace(CPU, batch_size=32, train_image=0.02, small_batch=0.01)
    assert settings(slower) == ["training.batch_size: 8"]
    about_equal = replace(CPU, batch_size=32, train_image=0.0105, small_batch=0.01)
    assert settings(about_equal) == []


def test_below_a_hundred_images_augmentation_is_at_its_maximum() -> None:
    assert settings(replace(CPU, train=99)) == ["training.augmentation: maximum"]
    assert settings(replace(CPU, train=99, augmentation="maximum")) == []
    assert "maximum" in texts(replace(CPU, train=99, augmentation="maximum"))
    assert "maximum" not in texts(replace(CPU, train=100))


@pytest.mark.parametrize(
    ("train", "considered"),
    [(1_000, ""), (1_001, "resnet50"), (5_000, "resnet50"), (5_001, "vit_b_16")],
)
def test_more_images_and_a_gpu_pay_for_a_larger_network(train: int, considered: str) -> None:
    assert texts(replace(GPU, train=train)).endswith(
        f"a GPU: consider {considered}" if considered else "here 32"
    )
    assert "consider" not in texts(replace(CPU, train=train))
    assert settings(replace(GPU, train=train)) == []


def test_a_network_that_is_large_enough_is_not_advised_against_itself() -> None:
    assert "consider" not in texts(replace(GPU, train=2_000, architecture="resnet50"))
    assert "consider vit_b_16" in texts(replace(GPU, train=9_000, architecture="resnet50"))
    assert "consider" not in texts(replace(GPU, train=9_000, architecture="vit_b_16"))


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (replace(GPU, train=1_000), "resnet50"),
        (replace(CPU, train=9_000), "resnet152"),
        (replace(GPU, train=5_000), "vit_b_16"),
    ],
)
def test_a_large_network_for_few_images_or_without_a_gpu_goes_against_it(
    facts: Facts, name: str
) -> None:
    assert settings(replace(facts, architecture=name)) == ["model.architecture: resnet18"]


def test_a_model_below_ten_megabytes_is_a_mobilenet() -> None:
    edge = replace(CPU, max_model_mb=10.0)
    assert settings(edge) == ["model.architecture: mobilenet_v3_small"]
    assert settings(replace(edge, architecture="mobilenet_v3_small")) == []
    assert settings(replace(edge, max_model_mb=10.1)) == []
