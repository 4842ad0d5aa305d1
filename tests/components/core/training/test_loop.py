"""The training loop: exact resume, the declared schedule, the best epoch, and honest failure."""

import copy
import io
import math
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from components.core.errors import Diverged
from components.core.training import loop, schedule
from components.core.training.architectures import build_network
from components.core.training.calibration import fit_temperature
from components.core.training.config import TrainingConfig
from components.core.training.inference import predict_logits
from components.core.training.loop import Epoch, LabeledImages, State, Stopped, fit
from components.core.training.parallel import ProcessGroup
from tests.factories import training_config

CONFIG = training_config(
    learning_rate=3e-3,
    augmentation="light",
    horizontal_flip=True,
    rotate_90=True,
    weight_decay=0.05,
    label_smoothing=0.1,
    warmup_fraction=0.2,
    seed=7,
)


def labeled_images(count: int, seed: int, size: int = 32) -> LabeledImages:
    """Two classes that are easy to tell apart: dark and bright noise, in turn."""
    labels = np.arange(count, dtype=np.int64) % 2
    noise = np.random.default_rng(seed).integers(0, 80, (count, size, size, 3))
    return LabeledImages((noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels)


TRAIN, VAL = labeled_images(24, seed=1), labeled_images(8, seed=2)


def tiny(seed: int = 0) -> nn.Module:
    """Convolution, BatchNorm and dropout: all that carries state, in a second's fraction."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def stored(state: State) -> State:
    """The state after a round through a file, as a checkpoint makes it: no pickled objects."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: State = torch.load(file, weights_only=True)
    return loaded


def frozen(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def best_of(epochs: list[Epoch]) -> dict[str, Any]:
    best: dict[str, Any] = epochs[-1].state["best"]
    return best


def interrupted(
    network: nn.Module, config: TrainingConfig, stop_at: int
) -> tuple[list[Epoch], State]:
    """Train until `stop_at` batches are done in all; the epochs so far and the stored state."""
    done: list[int] = []

    def after_batch(_batch: int, _batches: int) -> bool:
        done.append(1)
        return len(done) == stop_at

    epochs: list[Epoch] = []
    with pytest.raises(Stopped) as stopped:
        epochs.extend(fit(network, TRAIN, VAL, config, after_batch=after_batch))
    return epochs, stored(stopped.value.state)


@pytest.mark.row("R02", "R03")
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 6, 8, 9])  # 3 batches an epoch
def test_a_training_stopped_after_any_batch_continues_to_the_same_bits(
    stop_at: int, ema_decay: float
) -> None:
    config = replace(CONFIG, ema_decay=ema_decay)
    whole = tiny()
    expected = list(fit(whole, TRAIN, VAL, config))

    before, state = interrupted(tiny(), config, stop_at)
    torch.manual_seed(999)  # another process has other random numbers
    later = tiny(seed=5)
    found = before + list(fit(later, TRAIN, VAL, config, resume=state))

    assert found == expected
    assert equal(later.state_dict(), whole.state_dict())
    assert equal(best_of(found)["network"], best_of(expected)["network"])


@pytest.mark.row("R02")
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_training_killed_between_epochs_continues_to_the_same_bits(ema_decay: float) -> None:
    config = replace(CONFIG, ema_decay=ema_decay)
    whole = tiny()
    expected = list(fit(whole, TRAIN, VAL, config))
    for killed_after in (1, 2, 3):
        first = fit(tiny(), TRAIN, VAL, config)
        states = [stored(next(first).state) for _ in range(killed_after)]
        later = tiny(seed=5)
        rest = list(fit(later, TRAIN, VAL, config, resume=states[-1]))
        assert rest == expected[killed_after:]
        assert equal(later.state_dict(), whole.state_dict())


def test_a_real_network_continues_to_the_same_bits() -> None:
    config = replace(CONFIG, epochs=2, image_size=32, batch_size=4, ema_decay=0.5)
    train, val = labeled_images(8, seed=1, size=48), labeled_images(4, seed=2, size=48)

    def start() -> nn.Module:
        torch.manual_seed(0)
        return build_network("resnet18", 2)

    whole = start()
    expected = list(fit(whole, train, val, config))
    with pytest.raises(Stopped) as stopped:
        list(fit(start(), train, val, config, after_batch=lambda done, _: done == 1))
    later = build_network("resnet18", 2)
    assert list(fit(later, train, val, config, resume=stored(stopped.value.state))) == expected
    assert equal(later.state_dict(), whole.state_dict())


@pytest.mark.row("R16")
def test_equal_seeds_give_equal_trainings_and_other_seeds_do_not() -> None:
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(int(np.random.default_rng().integers(1000)))  # must not matter
        network = tiny()
        runs.append((list(fit(network, TRAIN, VAL, replace(CONFIG, seed=seed))), network))
    assert runs[0][0] == runs[1][0]
    assert equal(runs[0][1].state_dict(), runs[1][1].state_dict())
    assert runs[0][0] != runs[2][0]


def test_after_batch_is_told_where_the_training_is() -> None:
    calls: list[tuple[int, int]] = []

    def after_batch(done: int, total: int) -> bool:
        calls.append((done, total))
        return False

    list(fit(tiny(), TRAIN, VAL, replace(CONFIG, epochs=2), after_batch=after_batch))
    assert calls == [(1, 3), (2, 3), (3, 3)] * 2


class Recorder(nn.Module):
    """A linear network that notes what it is fed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 2)
        self.sizes: list[tuple[bool, int]] = []
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append((self.training, images.shape[-1]))
        if self.training:
            self.seen.append(images.clone())
        logits: Tensor = self.linear(images.mean(dim=(2, 3)))
        return logits


def test_the_optimizer_follows_the_declared_learning_rates_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[list[float]] = []
    step = torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        used.append([group["lr"] for group in self.param_groups])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    epochs = list(fit(tiny(), TRAIN, VAL, CONFIG))
    declared = [
        schedule.learning_rate_at(n, 9, CONFIG.learning_rate, CONFIG.warmup_fraction)
        for n in range(9)
    ]
    assert used == [[rate, rate] for rate in declared]
    assert [epoch.learning_rate for epoch in epochs] == [declared[2], declared[5], declared[8]]


def test_images_are_trained_and_scored_at_one_size_in_every_epoch() -> None:
    network = Recorder()
    data = labeled_images(8, seed=1, size=64)
    list(fit(network, data, data, replace(CONFIG, image_size=48)))
    assert network.sizes == [(True, 48), (False, 48)] * 3


def test_a_learnable_set_is_learned() -> None:
    network = tiny()
    epochs = list(fit(network, TRAIN, VAL, replace(CONFIG, epochs=8, learning_rate=2e-2)))
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert epochs[-1].val_loss < epochs[0].val_loss
    assert epochs[-1].val_accuracy == 1.0
    assert [epoch.index for epoch in epochs] == list(range(1, 9))


def test_an_image_is_changed_anew_in_every_batch_and_epoch() -> None:
    network = Recorder()
    same = LabeledImages(np.repeat(TRAIN.pixels[:1], 8, axis=0), TRAIN.labels[:8])
    list(fit(network, same, VAL, replace(CONFIG, epochs=2, batch_size=4)))
    assert len(network.seen) == 4
    for i in range(4):
        for k in range(i):
            assert not torch.equal(network.seen[i], network.seen[k])


def test_the_reported_train_loss_is_the_mean_over_the_images() -> None:
    network = Recorder()
    train = LabeledImages(TRAIN.pixels[:23], TRAIN.labels[:23])  # batches of 8, 8 and 7
    config = replace(CONFIG, epochs=1, learning_rate=1e-12, augmentation="none")
    (epoch,) = fit(network, train, VAL, config)
    logits = torch.from_numpy(predict_logits(network, train.pixels, batch_size=23, device="cpu"))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(train.labels), label_smoothing=0.1)
    assert epoch.train_loss == pytest.approx(float(loss), rel=1e-5)


def test_the_reported_val_numbers_are_those_of_the_network() -> None:
    network = tiny()
    config = replace(CONFIG, epochs=1, class_weights=(0.5, 2.0))
    (epoch,) = fit(network, TRAIN, VAL, config)
    logits = torch.from_numpy(predict_logits(network, VAL.pixels, batch_size=8, device="cpu"))
    temperature = max(1.0, fit_temperature(logits.numpy(), VAL.labels))
    chosen = -torch.log_softmax(logits / temperature, dim=1)
    chosen = chosen[torch.arange(8), torch.from_numpy(VAL.labels)]
    weights = torch.tensor([0.5, 2.0])[torch.from_numpy(VAL.labels)]
    assert epoch.val_loss == pytest.approx(float((weights * chosen).sum() / weights.sum()))
    assert epoch.val_accuracy == float((logits.argmax(1).numpy() == VAL.labels).mean())


def scripted(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let the val losses of the epochs be these; everything else stays real."""
    left = iter(losses)
    score = loop._Loop.score

    def replaced(self: loop._Loop, network: nn.Module) -> tuple[float, float]:
        return next(left), score(self, network)[1]

    monkeypatch.setattr(loop._Loop, "score", replaced)


def weights_by_epoch(epochs: Iterator[Epoch]) -> tuple[list[Epoch], list[dict[str, Tensor]]]:
    seen, weights = [], []
    for epoch in epochs:
        seen.append(epoch)
        weights.append(copy.deepcopy(epoch.state["network"]))
    return seen, weights


@pytest.mark.row("R17")
def test_the_best_epoch_is_kept_and_a_tie_keeps_the_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted(monkeypatch, [0.9, 0.4, 0.4, 0.7])
    epochs, weights = weights_by_epoch(fit(tiny(), TRAIN, VAL, replace(CONFIG, epochs=4)))
    assert [epoch.best for epoch in epochs] == [True, True, False, False]
    assert (best_of(epochs)["epoch"], best_of(epochs)["val_loss"]) == (2, 0.4)
    assert equal(best_of(epochs)["network"], weights[1])
    assert not equal(weights[1], weights[2])


def test_training_stops_when_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.9, 0.8, 0.7, 0.5, 0.6, 0.55, 0.1, 0.1])
    epochs = list(fit(tiny(), TRAIN, VAL, replace(CONFIG, epochs=8, early_stopping=2)))
    assert [epoch.index for epoch in epochs] == [1, 2, 3, 4, 5, 6]


def test_patience_counts_from_the_middle_of_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    # Noise at the peak of the learning rate: the best epochs are yet to come.
    scripted(monkeypatch, [0.5, 0.6, 0.7, 0.8, 0.6, 0.3, 0.2, 0.1])
    epochs = list(fit(tiny(), TRAIN, VAL, replace(CONFIG, epochs=8, early_stopping=2)))
    assert best_of(epochs)["epoch"] == 8


@pytest.mark.parametrize(("epochs", "early_stopping"), [(1, 1), (2, 1), (3, 2), (30, 15)])
def test_a_patience_of_half_the_schedule_never_stops_it(
    monkeypatch: pytest.MonkeyPatch, epochs: int, early_stopping: int
) -> None:
    scripted(monkeypatch, [0.1] + [0.5] * epochs)
    config = replace(CONFIG, epochs=epochs, early_stopping=early_stopping)
    assert len(list(fit(Recorder(), TRAIN, VAL, config))) == epochs


def test_the_best_epoch_outlives_a_stop_and_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.5, 0.9, 0.8])
    before, state = interrupted(tiny(), CONFIG, stop_at=5)
    best = copy.deepcopy(best_of(before))
    after = list(fit(tiny(seed=5), TRAIN, VAL, CONFIG, resume=state))
    assert [epoch.best for epoch in before + after] == [True, False, False]
    assert (best_of(after)["epoch"], best_of(after)["val_loss"]) == (1, 0.5)
    assert equal(best_of(after)["network"], best["network"])


def test_a_training_that_ran_out_of_patience_stays_finished_when_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted(monkeypatch, [0.5, 0.6, 0.6, 0.6])
    config = replace(CONFIG, epochs=6, early_stopping=1)
    state = list(fit(tiny(), TRAIN, VAL, config))[-1].state
    assert list(fit(tiny(), TRAIN, VAL, config, resume=stored(state))) == []


class Fixed(nn.Module):
    """Says class 1 for bright images, as loudly as it is told to; it cannot learn."""

    def __init__(self, volume: float) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(1))
        self.volume = volume

    def forward(self, images: Tensor) -> Tensor:
        side = images.mean(dim=(1, 2, 3)).sign() * self.volume
        return torch.stack([-side, side], dim=1) + 0 * self.idle


def score(volume: float, labels: NDArray[np.int64]) -> float:
    (epoch,) = fit(
        Fixed(volume), TRAIN, LabeledImages(VAL.pixels, labels), replace(CONFIG, epochs=1)
    )
    return epoch.val_loss


def test_overconfidence_makes_no_epoch_worse_and_underconfidence_none_better() -> None:
    one_wrong = VAL.labels.copy()
    one_wrong[0] = 1 - one_wrong[0]
    assert score(5.0, one_wrong) == pytest.approx(score(15.0, one_wrong), rel=1e-3)
    assert score(5.0, one_wrong) < math.log(1 + math.exp(-10)) + 10 / 8  # its plain log loss
    assert score(0.1, one_wrong) == pytest.approx(math.log(1 + math.exp(-0.2)) + 0.2 / 8)
    # All right: nothing to forgive, and the surer one is the better one.
    assert score(2.0, VAL.labels) < score(1.0, VAL.labels) < score(0.1, VAL.labels)


def test_the_average_of_the_weights_is_what_is_scored_and_kept() -> None:
    network = tiny()
    config = replace(CONFIG, epochs=1, ema_decay=0.5)
    steps: list[dict[str, Tensor]] = []

    def after_batch(_done: int, _total: int) -> bool:
        steps.append(frozen(network))
        return False

    epochs = list(fit(network, TRAIN, VAL, config, after_batch=after_batch))
    # The average starts as the first step's weights, then moves half the way to each next.
    kept = best_of(epochs)["network"]
    for name in ("6.weight", "1.running_mean"):
        first, second, third = (step[name] for step in steps)
        average = 0.5 * (0.5 * first + 0.5 * second) + 0.5 * third
        assert torch.allclose(kept[name], average, atol=1e-7)
        assert not torch.allclose(kept[name], network.state_dict()[name], atol=1e-5)
    scorer = tiny()
    scorer.load_state_dict(kept)
    logits = predict_logits(scorer, VAL.pixels, batch_size=8, device="cpu")
    logits /= max(1.0, fit_temperature(logits, VAL.labels))
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(VAL.labels))
    assert epochs[0].val_loss == pytest.approx(float(loss), rel=1e-6)


@pytest.mark.row("R13")
def test_an_exploding_training_stops_with_one_clear_line() -> None:
    with pytest.raises(Diverged, match=r"^training: the .* loss is (nan|inf) in epoch 1; use a l"):
        list(
            fit(
                build_network("resnet18", 2),
                TRAIN,
                VAL,
                replace(CONFIG, learning_rate=1e20, warmup_fraction=0.0),
            )
        )


@pytest.mark.row("R13")
@pytest.mark.parametrize(("mode", "split"), [(True, "train"), (False, "val")])
def test_a_loss_that_is_not_a_number_stops_the_training(mode: bool, split: str) -> None:
    class Broken(Recorder):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * (math.nan if self.training == mode else 1.0)

    with pytest.raises(Diverged, match=rf"^training: the {split} loss is nan in epoch 1; "):
        list(fit(Broken(), TRAIN, VAL, CONFIG))


class NanFrom(Recorder):
    """Its logits are NaN in training, from this step on."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits * (math.nan if len(self.seen) >= self.step else 1.0)


@pytest.mark.parametrize("step", [1, 4, 8, 9])
def test_a_training_goes_few_steps_beyond_the_first_nan(step: int) -> None:
    network = NanFrom(step)
    with pytest.raises(Diverged, match="the train loss is nan in epoch 1; "):
        list(fit(network, TRAIN, VAL, replace(CONFIG, batch_size=2)))  # 12 batches
    assert step <= len(network.seen) < step + 8


def test_a_stop_leaves_no_state_whose_loss_is_nan() -> None:
    with pytest.raises(Diverged, match="the train loss is nan in epoch 1; "):
        list(fit(NanFrom(1), TRAIN, VAL, CONFIG, after_batch=lambda _done, _total: True))


class ScalarReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often a value is fetched from the device, which then must have finished."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


def test_most_steps_do_not_wait_for_the_device() -> None:
    counts = [0]

    def after_batch(_done: int, _total: int) -> bool:
        counts.append(reads.count)
        return False

    config = replace(CONFIG, batch_size=2, augmentation="maximum", epochs=1)
    with ScalarReads() as reads:  # type: ignore[no-untyped-call]
        next(fit(tiny(), TRAIN, VAL, config, after_batch=after_batch))
    assert np.diff(counts).tolist() == [0] * 7 + [1] + [0] * 3 + [1]


def test_class_weights_change_what_is_learned() -> None:
    # Nothing to tell the classes apart by: the weights alone decide, in the end 9 to 1.
    gray = LabeledImages(np.full((24, 32, 32, 3), 120, np.uint8), TRAIN.labels)
    config = replace(
        CONFIG, augmentation="none", epochs=12, learning_rate=5e-2, label_smoothing=0.0
    )
    for weights, favored in (((9.0, 1.0), 0), ((1.0, 9.0), 1)):
        network = Recorder()
        list(fit(network, gray, gray, replace(config, class_weights=weights)))
        logits = predict_logits(network, gray.pixels[:1], batch_size=8, device="cpu")
        assert torch.softmax(torch.from_numpy(logits), dim=1)[0, favored] > 0.8


def test_logit_k_belongs_to_class_k() -> None:
    # Three classes of 30, 10 and 20 gray images: the shares come back in the logits' order.
    labels: NDArray[np.int64] = np.repeat([0, 1, 2], [30, 10, 20])
    gray = LabeledImages(np.full((60, 32, 32, 3), 120, np.uint8), labels)
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    config = replace(
        CONFIG,
        augmentation="none",
        label_smoothing=0.0,
        weight_decay=0.0,
        class_weights=(1.0, 1.0, 1.0),
        epochs=80,
        early_stopping=80,
        batch_size=60,
        learning_rate=0.1,
    )
    list(fit(network, gray, gray, config))
    logits = predict_logits(network, gray.pixels[:1], batch_size=1, device="cpu")
    shares = torch.softmax(torch.from_numpy(logits), dim=1)[0].tolist()
    assert shares == pytest.approx([30 / 60, 10 / 60, 20 / 60], abs=0.02)


def test_label_smoothing_changes_the_training_loss_and_not_the_val_loss() -> None:
    def first(smoothing: float) -> Epoch:
        config = replace(CONFIG, label_smoothing=smoothing, learning_rate=1e-12)
        return next(fit(tiny(), TRAIN, VAL, config))

    assert first(0.0).train_loss != pytest.approx(first(0.5).train_loss, rel=1e-3)
    assert first(0.0).val_loss == pytest.approx(first(0.5).val_loss, rel=1e-6)


def test_bf16_trains_with_weights_kept_in_fp32() -> None:
    network = tiny()
    epochs = list(fit(network, TRAIN, VAL, replace(CONFIG, precision="bf16", epochs=1)))
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert math.isfinite(epochs[0].val_loss)
    fp32 = next(fit(tiny(), TRAIN, VAL, CONFIG))
    assert epochs[0].train_loss != fp32.train_loss


def test_a_gpu_reads_its_batches_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.dtype] = []

    def pin_memory(tensor: Tensor) -> Tensor:  # needs a GPU
        pinned.append(tensor.dtype)
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    rows = np.array([3, 0])
    for device, expected in (("cpu", []), ("cuda", [torch.uint8, torch.int64])):
        there = SimpleNamespace(
            config=replace(CONFIG, device=device), train=TRAIN, group=ProcessGroup(), moved=None
        )
        pixels, labels = loop._Loop.read(there, rows)  # type: ignore[arg-type]
        assert pinned == expected
        assert (pixels.numpy() == TRAIN.pixels[rows]).all()
        assert labels.tolist() == [1, 0]
