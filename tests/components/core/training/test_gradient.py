"""The gradient of a batch, whole and in the micro-batches that memory asks for."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.core.errors import OutOfMemory
from components.core.training.gradient import Gradient
from components.core.training.inference import predict_logits
from components.core.training.loop import Epoch, LabeledImages, Stopped, fit
from components.core.training.parallel import ProcessGroup
from tests.factories import training_config

CONFIG = training_config(
    batch_size=7,
    image_size=16,
    augmentation="maximum",
    horizontal_flip=True,
    label_smoothing=0.1,
    class_weights=(0.5, 3.0),
)
LABELS = np.array([0, 1, 0, 0, 1, 0, 1], dtype=np.int64)
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
IMAGES = LabeledImages(PIXELS, LABELS)


def network(norm: bool) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm2d(6) if norm else nn.GroupNorm(2, 6)
    layers = (nn.Conv2d(3, 6, 3), middle, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(24, 2))


class Hungry(nn.Module):
    """Really has no memory for more than `most` images at a time; notes how many it was given."""

    def __init__(self, inner: nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most = inner, most
        self.given: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.given.append(len(images))
        logits: Tensor = self.inner(images)
        if len(images) > self.most:  # behind BatchNorm, whose buffers have changed by now
            torch.empty(1 << 60, dtype=torch.uint8)
        return logits


def gradient_of(
    inner: nn.Module, micro_batch_size: int, most: int = 99
) -> tuple[float, list[Tensor], list[str]]:
    """Loss, gradients and lines of one batch."""
    lines: list[str] = []
    gradient = Gradient(Hungry(inner, most), CONFIG, lines.append, ProcessGroup())
    gradient.micro_batch_size = micro_batch_size
    loss = gradient.add(torch.from_numpy(PIXELS), torch.from_numpy(LABELS), 1, 0)
    return float(loss), [p.grad for p in inner.parameters() if p.grad is not None], lines


def close(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_micro_batches_give_the_gradient_of_the_whole_batch(size: int) -> None:
    # The parts differ in size and in classes: a mean of means would be another gradient.
    loss, whole, _ = gradient_of(network(norm=False), 7)
    found, parts, _ = gradient_of(network(norm=False), size)
    assert found == pytest.approx(loss, rel=1e-5)
    assert close(parts, whole)


def test_the_whole_batch_is_the_class_weighted_mean() -> None:
    inner = network(norm=False)
    config = replace(CONFIG, augmentation="none")
    gradient = Gradient(inner, config, print, ProcessGroup())
    loss = gradient.add(torch.from_numpy(PIXELS), torch.from_numpy(LABELS), 1, 0)
    logits = torch.from_numpy(predict_logits(inner, PIXELS, device="cpu"))
    expected = nn.functional.cross_entropy(
        logits, torch.from_numpy(LABELS), torch.tensor([0.5, 3.0]), label_smoothing=0.1
    )
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_with_batch_norm_the_gradient_is_that_of_smaller_batches() -> None:
    _, whole, _ = gradient_of(network(norm=True), 7)
    _, parts, _ = gradient_of(network(norm=True), 4)
    assert not close(parts, whole)


@pytest.mark.parametrize("norm", [True, False])
def test_a_failed_attempt_leaves_no_trace(norm: bool) -> None:
    started_small, failed_first = network(norm), network(norm)
    loss, expected, _ = gradient_of(started_small, 4)
    found, gradients, lines = gradient_of(failed_first, 7, most=4)
    assert found == loss
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))
    buffers = zip(failed_first.buffers(), started_small.buffers(), strict=True)
    assert all(torch.equal(a, b) for a, b in buffers)
    line = "out of memory with 7 images at a time: 4 from here on, and their gradients are added up"
    assert lines == [f"{line} to steps of 7"]


def test_the_size_stays_halved_and_no_part_has_a_single_image() -> None:
    hungry = Hungry(network(norm=True), most=3)
    lines: list[str] = []
    list(fit(hungry, IMAGES, IMAGES, replace(CONFIG, epochs=2), notice=lines.append))
    training = [count for count in hungry.given if count != 7]
    assert hungry.given[:2] == [7, 4]
    assert len(lines) == 2
    # Two epochs of one batch in parts of 3, 2, 2; val halves what it cannot hold.
    assert training == [4, 3, 2, 2, 4, 2, 2, 3, 3, 2, 2, 4, 2, 2, 3]


def test_what_fits_in_no_micro_batch_is_one_line() -> None:
    lines: list[str] = []
    hungry = Hungry(network(norm=True), most=0)
    with pytest.raises(OutOfMemory, match=r"^training: out of memory at 16 px \(DefaultCPU"):
        list(fit(hungry, IMAGES, IMAGES, CONFIG, notice=lines.append))
    assert hungry.given == [7, 4, 3]  # two, two and three: none is alone
    assert len(lines) == 2


def test_another_error_is_not_taken_for_it() -> None:
    broken = nn.Sequential(network(norm=True), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes"):
        list(fit(broken, IMAGES, IMAGES, CONFIG))


def test_a_resumed_training_goes_on_with_the_size_that_it_had() -> None:
    config = replace(CONFIG, epochs=3, batch_size=4, ema_decay=0.5)
    whole = Hungry(network(norm=True), most=3)
    expected = list(fit(whole, IMAGES, IMAGES, config))
    with pytest.raises(Stopped) as stopped:
        list(fit(Hungry(network(True), 3), IMAGES, IMAGES, config, after_batch=lambda *_: True))
    later = Hungry(network(norm=True), most=99)  # memory that suffices now changes nothing
    found: list[Epoch] = list(fit(later, IMAGES, IMAGES, config, resume=stopped.value.state))
    assert found == expected
    assert max(count for count in later.given if count != 7) == 3
    pairs = zip(later.parameters(), whole.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_predictions_halve_what_does_not_fit() -> None:
    hungry = Hungry(network(norm=True), most=2)
    found = predict_logits(hungry, PIXELS, device="cpu")
    assert hungry.given == [7, 4, 2, 2, 3, 2, 1]
    whole = predict_logits(hungry.inner, PIXELS, device="cpu", image_size=16)
    assert found == pytest.approx(whole, rel=1e-5)
    with pytest.raises(RuntimeError, match="can't allocate"):
        predict_logits(Hungry(network(norm=True), most=0), PIXELS, device="cpu")


_LIMITED = """
import resource
import sys

import torch
from torch import nn
from components.core.training.gradient import Gradient
from components.core.training.parallel import ProcessGroup
from tests.factories import training_config

torch.set_num_threads(1)
torch.manual_seed(0)
layers = [nn.Conv2d(3, 64, 3, padding=1)]
for _ in range(6):
    layers += [nn.GroupNorm(4, 64), nn.GELU(), nn.Conv2d(64, 64, 1)]
network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
config = training_config(batch_size=64, image_size=64, augmentation="light")
pixels = torch.randint(0, 256, (64, 64, 64, 3), dtype=torch.uint8)
labels = torch.arange(64) % 2


def norms(micro_batch_size):
    gradient = Gradient(network, config, print, ProcessGroup())
    gradient.micro_batch_size = micro_batch_size
    gradient.add(pixels, labels, 1, 0)
    found = torch.stack([p.grad.norm() for p in network.parameters()])
    network.zero_grad()
    return gradient.micro_batch_size, found


_, expected = norms(8)  # some 200 MB, which the process keeps
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), resource.RLIM_INFINITY))
size, found = norms(64)  # 1.3 GB
assert 8 <= size < 64, size
assert torch.allclose(found, expected, rtol=1e-3), (found, expected)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what the process uses")
def test_a_process_whose_memory_is_limited_goes_on_with_less_at_a_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("out of memory with 64 images at a time: 32 from here on, ")
