"""What each of several processes does in a test; PyTorch is imported by those that need it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import Diverged
from components.train.ranks import Rank
from tests.factories import training_config

CONFIG = training_config(
    learning_rate=3e-3,
    epochs=3,
    image_size=32,
    batch_size=8,
    augmentation="maximum",
    horizontal_flip=True,
    label_smoothing=0.1,
    class_weights=(0.5, 2.0),
    warmup_fraction=0.2,
    ema_decay=0.5,
)


def images(count: int, seed: int) -> Any:
    """Two classes that are easy to tell apart."""
    from components.core.training.loop import LabeledImages

    labels = np.arange(count, dtype=np.int64) % 2
    noise = np.random.default_rng(seed).integers(0, 80, (count, 32, 32, 3))
    return LabeledImages((noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels)


def network(kind: str) -> Any:
    """A network with BatchNorm, the same each time."""
    import torch
    from torch import nn

    from components.core.training.architectures import build_network

    torch.manual_seed(0)
    if kind != "tiny":
        return build_network(kind, 2)
    layers = (nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def group_of(rank: Rank | None) -> Any:
    """The group of this process; of None, that of one process."""
    from components.core.training.parallel import ProcessGroup

    if rank is None:
        return ProcessGroup()
    from components.train.process_group import DistributedGroup

    return DistributedGroup(rank, "cpu")


def curves(kind: str, group: Any) -> dict[str, Any]:
    """Numbers of every epoch and the weights of the best one; batches of 8, 8 and 7."""
    from components.core.training.loop import fit

    # Deep networks amplify rounding: BatchNorm divides by the spread of eight nearly equal values.
    config = CONFIG if kind == "tiny" else replace(CONFIG, learning_rate=1e-5, epochs=1)
    epochs = list(fit(network(kind), images(23, 1), images(9, 2), config, group=group))
    numbers = [(e.train_loss, e.val_loss, e.val_accuracy, e.learning_rate) for e in epochs]
    return {"numbers": numbers, "network": epochs[-1].state["best"]["network"]}


def stop_and_resume(group: Any, stop_at: int) -> bool:
    """Whether a training that rank 0 stops after so many batches ends with the same bits."""
    import torch

    from components.core.training.loop import Stopped, fit

    config, done = replace(CONFIG, epochs=2), []
    train, val, whole, later = images(23, 1), images(9, 2), network("tiny"), network("tiny")
    expected = list(fit(whole, train, val, config, group=group))

    def after_batch(*_: int) -> bool:
        done.append(1)
        return group.rank == 0 and len(done) == stop_at  # the others are told

    state = {}
    try:
        list(fit(network("tiny"), train, val, config, group=group, after_batch=after_batch))
    except Stopped as stopped:
        state = stopped.state
    found = list(fit(later, train, val, config, group=group, resume=state))
    pairs = zip(later.parameters(), whole.parameters(), strict=True)
    return found == expected[state["epoch"] :] and all(torch.equal(a, b) for a, b in pairs)


def compare(rank: Rank, kinds: tuple[str, ...], stops: tuple[int, ...], folder: Path) -> None:
    """Train each kind of network, stop and resume; every process leaves what it found."""
    import torch

    group = group_of(rank)
    found = {kind: curves(kind, group) for kind in kinds}
    same = {f"stop {number}": stop_and_resume(group, number) for number in stops}
    torch.save(found | same, folder / f"{group.rank}.pt")


def die(rank: Rank, number: int, folder: Path) -> None:
    """One is killed, as for want of memory, while the others train."""
    (folder / f"{rank.number}.pid").write_text(str(os.getpid()))
    while len(list(folder.glob("*.pid"))) < rank.size:
        time.sleep(0.05)
    if rank.number == number:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def fail(rank: Rank, kind: str) -> None:
    """The last one fails; the others wait for it, as in an exchange."""
    if rank.number == rank.size - 1:
        raise Diverged("training: nan") if kind == "ours" else ValueError("a bug")
    time.sleep(600)


def wait_for_signal(rank: Rank, folder: Path) -> None:
    """Rank 0 ends at a signal, as train does; the others with it."""
    from components.io import process

    with process.stop_on_signal() as stop:
        (folder / f"{rank.number}.ready").write_text("")
        while not (stop or (folder / "told").exists()):
            time.sleep(0.05)
        (folder / "told").write_text(str(rank.number))
    raise SystemExit(1)
