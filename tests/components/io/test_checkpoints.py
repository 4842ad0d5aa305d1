"""A checkpoint comes back bit for bit, or not at all."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.core.errors import PipelineError
from components.io import checkpoints

STATE = {
    "network": {"weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
    "ema": None,
    "epoch": 2,
    "batch": 5,
    "loss_sum": 0.1 + 0.2,
    "best": {"epoch": 1, "val_loss": float("inf"), "network": {}},
}
HISTORY = [{"epoch": 1, "val_loss": 0.25}, {"epoch": 2, "val_loss": 1 / 3}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved checkpoint."""
    path = tmp_path / "cache" / "train.ckpt"
    checkpoints.save(path, "key", STATE, HISTORY)
    return path


def test_a_checkpoint_comes_back_bit_for_bit(path: Path) -> None:
    loaded = checkpoints.load(path, "key")
    assert loaded is not None
    state, history = loaded
    assert history == HISTORY
    assert torch.equal(state["network"]["weight"], STATE["network"]["weight"])  # type: ignore[index]
    assert state["optimizer"]["param_groups"] == [{"lr": 1e-3}]
    for name in ("ema", "epoch", "batch", "loss_sum", "best"):
        assert state[name] == STATE[name]


def test_a_newer_checkpoint_takes_the_place_of_the_older(path: Path) -> None:
    checkpoints.save(path, "key", {**STATE, "epoch": 3}, HISTORY)
    loaded = checkpoints.load(path, "key")
    assert loaded is not None
    assert loaded[0]["epoch"] == 3
    assert {p.name for p in path.parent.iterdir()} == {"train.ckpt", "train.previous.ckpt"}
    checkpoints.remove(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.row("R05")
@pytest.mark.parametrize("newest", [b"damaged", b"", None])
def test_the_checkpoint_before_is_used_when_the_newest_is_damaged_or_was_never_finished(
    newest: bytes | None, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(path, "key", {**STATE, "epoch": 3}, HISTORY)
    if newest is None:
        path.unlink()  # killed while it was written
    else:
        path.write_bytes(newest)
    loaded = checkpoints.load(path, "key")
    assert loaded is not None
    assert loaded[0]["epoch"] == 2
    text = f"{path} is damaged: starting from {path.with_name('train.previous.ckpt')}"
    assert [record.message.strip()[10:] for record in caplog.records] == [text] * (
        newest is not None
    )


def test_when_both_are_damaged_training_starts_over(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(path, "key", STATE, HISTORY)
    for file in path.parent.iterdir():
        file.write_bytes(b"damaged")
    assert checkpoints.load(path, "key") is None
    assert caplog.records[-1].message.endswith("is damaged: starting from the first epoch")


def test_without_a_file_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert checkpoints.load(tmp_path / "none.ckpt", "key") is None


@pytest.mark.row("R06")
def test_a_checkpoint_of_other_data_settings_or_code_is_not_resumed(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert checkpoints.load(path, "other key") is None
    assert "belongs to other data, settings or code: starting from the first epoch" in caplog.text


@pytest.mark.row("R05")
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:0],
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    ],
)
def test_a_damaged_checkpoint_is_not_resumed_and_says_so(
    path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(damage(path.read_bytes()))
    assert checkpoints.load(path, "key") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "is damaged: starting from the first epoch" in caplog.text


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.marker,))


@pytest.mark.row("R07")
def test_a_pickled_object_is_refused_without_running_it(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "it ran"
    for content in (Bomb(marker), {"key": "key", "state": Bomb(marker), "history": []}):
        torch.save(content, path)
        pickled = path.read_bytes()
        path.write_bytes(hashlib.sha256(pickled).digest() + pickled)
        assert checkpoints.load(path, "key") is None
    assert not marker.exists()
    assert "cannot be read" in caplog.text
    assert "weights_only=False" not in caplog.text


@pytest.mark.row("R04")
def test_a_full_disk_keeps_the_older_checkpoint(small_disk: Path) -> None:
    path = small_disk / "train.ckpt"
    checkpoints.save(path, "key", STATE, HISTORY)
    with pytest.raises(PipelineError, match="No space left on device"):
        checkpoints.save(path, "key", {"network": torch.zeros(100_000)}, HISTORY)
    loaded = checkpoints.load(path, "key")
    assert loaded is not None
    assert loaded[0]["epoch"] == 2
