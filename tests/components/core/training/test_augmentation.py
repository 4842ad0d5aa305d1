"""Pixels to network input, and augmentation: against torchvision, by hand, and as laws."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from components.core.training import augmentation
from components.core.training.augmentation import (
    AUGMENTATIONS,
    MEAN,
    STD,
    draw,
    normalize,
    resize,
)
from components.core.training.presets import Augmentation

STILL = AUGMENTATIONS["none"]  # no change at all
LEVELS: tuple[Augmentation, ...] = get_args(Augmentation)


def pixels(count: int, size: int, seed: int = 0) -> Tensor:
    values = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return torch.from_numpy(values)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augment(
    batch: Tensor,
    level: Augmentation,
    *,
    horizontal_flip: bool,
    rotate_90: bool,
    generator: torch.Generator,
) -> Tensor:
    changes = draw(
        len(batch),
        level,
        horizontal_flip=horizontal_flip,
        rotate_90=rotate_90,
        generator=generator,
    )
    return augmentation.augment(batch, changes, level)


def ramp(count: int, size: int = 32) -> Tensor:
    """Images that grow from left to right in red and from top to bottom in green."""
    line = torch.linspace(-1, 1, size)
    image = torch.stack([line.expand(size, size), line[:, None].expand(size, size)])
    image = torch.cat([image, torch.zeros(1, size, size)])
    return image.expand(count, 3, size, size).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def custom(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """custom(erase=1.0): the level "light" is now exactly this change and no other."""

    def change(**values: float) -> None:
        monkeypatch.setitem(AUGMENTATIONS, "light", replace(STILL, **values))

    return change


def change(batch: Tensor, horizontal_flip: bool = False, rotate_90: bool = False) -> Tensor:
    """`augment` at the level "light", always with the same random numbers."""
    return augment(
        batch,
        "light",
        horizontal_flip=horizontal_flip,
        rotate_90=rotate_90,
        generator=seeded(),
    )


def test_normalize_is_torchvisions_formula() -> None:
    images = pixels(3, 20)
    recipe = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    expected = recipe(images.permute(0, 3, 1, 2))
    found = normalize(images)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_normalize_is_channels_last_and_leaves_its_input_alone() -> None:
    images = pixels(2, 8)
    before = images.clone()
    found = normalize(images)
    assert found.shape == (2, 3, 8, 8)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_normalize_of_one_pixel_by_hand() -> None:
    white = torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)
    assert normalize(white).flatten().tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rel=1e-6
    )


def test_resize_averages_areas() -> None:
    image = torch.tensor([[1.0, 3.0, 10.0, 10.0], [5.0, 7.0, 10.0, 10.0]] * 2)
    batch = image.expand(1, 3, 4, 4)
    assert resize(batch, 2)[0, 1].tolist() == [[4.0, 10.0], [4.0, 10.0]]


def test_resize_to_the_same_size_changes_nothing() -> None:
    batch = normalize(pixels(1, 16))
    assert resize(batch, 16) is batch


@given(size=st.sampled_from([32, 48, 64, 96]))
def test_resize_keeps_the_mean_of_a_flat_image(size: int) -> None:
    flat = torch.full((1, 3, 96, 96), 0.25)
    small = resize(flat, size)
    assert small.shape == (1, 3, size, size)
    assert torch.allclose(small, torch.tensor(0.25))


def test_no_augmentation_is_the_batch_itself() -> None:
    batch = normalize(pixels(4, 16))
    assert augment(batch, "none", horizontal_flip=True, rotate_90=True, generator=seeded()) is batch


@pytest.mark.parametrize("size", [16, 33])
def test_settings_without_changes_give_the_image_back(
    custom: Callable[..., None], size: int
) -> None:
    custom()
    batch = normalize(pixels(4, size))
    found = change(batch)
    # In noise, a shift by a hundredth of a pixel would change values by 0.01 and more.
    assert torch.allclose(found, batch, rtol=0, atol=1e-4)


@given(
    level=st.sampled_from(LEVELS),
    count=st.integers(1, 5),
    size=st.integers(2, 40),
    horizontal_flip=st.booleans(),
    rotate_90=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=60, deadline=None)
def test_augmentation_keeps_shape_and_type_and_stays_finite(
    level: Augmentation, count: int, size: int, horizontal_flip: bool, rotate_90: bool, seed: int
) -> None:
    batch = normalize(pixels(count, size, seed % 1000))

    def changed() -> Tensor:
        return augment(
            batch,
            level,
            horizontal_flip=horizontal_flip,
            rotate_90=rotate_90,
            generator=seeded(seed),
        )

    found = changed()
    assert found.shape == batch.shape
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert torch.equal(found, changed())


@pytest.mark.parametrize("level", LEVELS)
def test_augmentation_leaves_its_input_alone_and_is_channels_last(level: Augmentation) -> None:
    batch = normalize(pixels(4, 24))
    before = batch.clone()
    found = augment(batch, level, horizontal_flip=True, rotate_90=True, generator=seeded())
    assert torch.equal(batch, before)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_images_of_a_batch_and_other_seeds_get_other_changes(level: Augmentation) -> None:
    batch = ramp(6)
    found = augment(batch, level, horizontal_flip=False, rotate_90=False, generator=seeded())
    for i in range(6):
        for k in range(i):
            assert not torch.equal(found[i], found[k])
    assert not torch.equal(
        found, augment(batch, level, horizontal_flip=False, rotate_90=False, generator=seeded(1))
    )


@pytest.mark.parametrize(("horizontal_flip", "share"), [(False, 0.0), (True, 0.5)])
def test_every_second_image_is_flipped_where_that_is_asked_for_and_none_else(
    custom: Callable[..., None], horizontal_flip: bool, share: float
) -> None:
    custom()
    batch = ramp(400, size=8)
    found = change(batch, horizontal_flip=horizontal_flip)
    mirrored = [torch.allclose(image, batch[0].flip(-1), atol=1e-5) for image in found]
    same = [torch.allclose(image, batch[0], atol=1e-5) for image in found]
    assert all(m != s for m, s in zip(mirrored, same, strict=True))
    # 4 standard deviations of 400 draws at 0.5 are 0.1
    assert sum(mirrored) / 400 == pytest.approx(share, abs=0.1 if horizontal_flip else 0)


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_mirrors_an_image_by_itself(level: Augmentation) -> None:
    # Red grows from left to right, whatever was cropped, turned by up to 30 degrees or erased.
    for image in augment(
        ramp(100), level, horizontal_flip=False, rotate_90=False, generator=seeded()
    ):
        assert image[0, :, 20:].mean() > image[0, :, :12].mean()


def test_rotate_90_turns_by_all_four_quarters_equally_often(custom: Callable[..., None]) -> None:
    custom()
    batch = ramp(400, size=8)
    found = change(batch, rotate_90=True)
    counts = [0] * 4
    for image in found:
        turns = [torch.allclose(image, batch[0].rot90(k, (1, 2)), atol=1e-5) for k in range(4)]
        assert sum(turns) == 1
        counts[turns.index(True)] += 1
    assert min(counts) > 65  # 100 expected, 4 standard deviations are 35


def test_a_flipped_image_is_rotated_and_not_sheared(custom: Callable[..., None]) -> None:
    custom()
    batch = ramp(40, size=8)
    ways = [way.rot90(k, (1, 2)) for way in (batch[0], batch[0].flip(-1)) for k in range(4)]
    found = change(batch, horizontal_flip=True, rotate_90=True)
    seen = [[torch.allclose(image, way, atol=1e-5) for way in ways] for image in found]
    assert all(sum(matches) == 1 for matches in seen)
    assert any(any(matches[4:]) for matches in seen)


def test_a_crop_shows_a_part_of_the_image_enlarged(custom: Callable[..., None]) -> None:
    custom(min_crop=0.25)
    found = change(ramp(200))
    # Red is the input's x in [-1, 1]: its spread over a row is the width of the crop.
    width = (found[:, 0, 16, -1] - found[:, 0, 16, 0]) / 2
    height = (found[:, 1, -1, 16] - found[:, 1, 0, 16]) / 2
    area = width * height
    assert torch.allclose(width, height, atol=0.02)
    assert 0.23 < area.min() < 0.35
    assert 0.85 < area.max() <= 1.0
    left = found[:, 0, 16, 0]
    assert left.min() < -0.9  # crops touch the left edge
    assert found[:, 0, 16, -1].max() > 0.9  # and the right one
    assert left.max() > -0.1  # the half that is furthest right begins in the middle


def test_a_stretch_changes_width_against_height_up_to_its_factor(
    custom: Callable[..., None],
) -> None:
    custom(min_crop=0.3, max_stretch=1.5)
    found = change(ramp(200))
    width = found[:, 0, 16, -1] - found[:, 0, 16, 0]
    height = found[:, 1, -1, 16] - found[:, 1, 0, 16]
    ratio = width / height
    assert 1 / 1.55 < ratio.min() < 1 / 1.3
    assert 1.3 < ratio.max() < 1.55


def test_a_rotation_stays_within_its_degrees(custom: Callable[..., None]) -> None:
    custom(max_degrees=20.0)
    found = change(ramp(200))
    # Across the center, away from reflected corners, red and green are a turned plane.
    across = found[:, :2, 16, 20] - found[:, :2, 16, 12]
    degrees = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    assert -20.5 < degrees.min() < -17
    assert 17 < degrees.max() < 20.5
    assert abs(float(degrees.mean())) < 3.3  # 4 standard errors


def test_color_changes_contrast_and_brightness_within_bounds(custom: Callable[..., None]) -> None:
    custom(color_jitter=0.3)
    batch = normalize(pixels(200, 8))
    found = change(batch)
    gain = found.std(dim=(1, 2, 3)) / batch.std(dim=(1, 2, 3))
    shift = found.mean(dim=(1, 2, 3)) - batch.mean(dim=(1, 2, 3))
    for value, middle in ((gain, 1.0), (shift, 0.0)):
        assert middle - 0.3001 < value.min() < middle - 0.28
        assert middle + 0.28 < value.max() < middle + 0.3001
    # Every pixel of an image gets the same line: x -> gain * x + offset.
    line = gain[0] * (batch[0] - batch[0].mean()) + batch[0].mean() + shift[0]
    assert torch.allclose(found[0], line, atol=1e-4)


def test_erasing_blanks_one_rectangle_in_some_images(custom: Callable[..., None]) -> None:
    custom(erase=0.5)
    size = 40
    batch = torch.ones(400, 3, size, size).contiguous(memory_format=torch.channels_last)
    found = change(batch)
    blank = found.abs() < 1e-6
    assert torch.equal(blank[:, 0], blank[:, 2])
    hit = blank[:, 0].any(dim=2).any(dim=1)
    assert float(hit.float().mean()) == pytest.approx(0.5, abs=0.1)
    sides, squares = set(), []
    for hole in blank[hit][:, 0]:
        rows, columns = hole.any(dim=1).nonzero().flatten(), hole.any(dim=0).nonzero().flatten()
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert int(hole.sum()) == len(rows) * len(columns)
        sides |= {len(rows), len(columns)}
        squares.append(len(rows) == len(columns))
    assert min(sides) in (3, 4, 5)  # a tenth of the side
    assert max(sides) in (19, 20, 21)  # to a half
    assert sum(squares) < len(squares) / 2
    assert (found[~blank] == 1.0).all()


def test_each_level_changes_images_more_than_the_one_before() -> None:
    assert tuple(AUGMENTATIONS) == LEVELS
    ladder = [AUGMENTATIONS[level] for level in LEVELS]
    for weaker, stronger in itertools.pairwise(ladder):
        assert weaker.min_crop > stronger.min_crop
        assert weaker.max_stretch <= stronger.max_stretch
        assert weaker.max_degrees <= stronger.max_degrees
        assert weaker.color_jitter < stronger.color_jitter
        assert weaker.erase <= stronger.erase


def test_the_generator_is_the_only_source_of_chance() -> None:
    batch = ramp(4)
    torch.manual_seed(0)
    first = augment(batch, "maximum", horizontal_flip=True, rotate_90=True, generator=seeded())
    torch.manual_seed(1)
    assert torch.equal(
        first, augment(batch, "maximum", horizontal_flip=True, rotate_90=True, generator=seeded())
    )


@pytest.mark.parametrize("level", LEVELS)
def test_a_part_of_a_batch_is_changed_as_it_is_in_the_whole(level: Augmentation) -> None:
    batch = normalize(pixels(7, 24))
    changes = draw(7, level, horizontal_flip=True, rotate_90=True, generator=seeded())
    whole = augmentation.augment(batch, changes, level)
    for part in (slice(0, 4), slice(4, 7)):
        found = augmentation.augment(batch[part], changes[part], level)
        assert torch.allclose(found, whole[part], atol=1e-5)
