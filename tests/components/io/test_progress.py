"""What a person sees while epochs run."""

import re
import sys
import time

import pytest

from components.core.training.loop import Epoch
from components.io.process import Stop
from components.io.progress import Progress
from tests.factories import training_config

CONFIG = training_config()


def epoch(index: int, best: bool = False) -> Epoch:
    return Epoch(
        index=index,
        learning_rate=1e-3,
        train_loss=0.61,
        val_loss=0.4567,
        val_accuracy=0.75,
        best=best,
        state={},
    )


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def run_epoch(progress: Progress, clock: Clock, seconds: float, scoring: float) -> None:
    for batch in (1, 2, 3, 4):
        clock.now += seconds / 4
        assert progress.after_batch(batch, 4) is False
    clock.now += scoring


def test_an_epoch_is_one_line_without_a_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("train", CONFIG, 100, Stop())
    for index in (1, 2, 3):
        run_epoch(progress, clock, 4.0, 1.0)
        progress.report(epoch(index, best=index == 2))
    out, err = capsys.readouterr()
    assert err == ""
    assert "\r" not in out
    lines = out.splitlines()
    assert len(lines) == 3
    # Two epochs like the first one are left.
    assert lines[0] == (
        "train     epoch 1/3  train/loss 0.610  val/loss 0.457  val/accuracy 0.750  "
        "5 s  25 img/s  10 s left"
    )
    assert lines[1].endswith("  [best]")
    assert re.search(r"25 img/s  done$", lines[2])


def test_images_per_second_count_training_alone(clock: Clock) -> None:
    progress = Progress("train", CONFIG, 100, Stop())
    run_epoch(progress, clock, 4.0, 96.0)
    assert progress.report(epoch(1)) == pytest.approx(25.0)
    run_epoch(progress, clock, 2.0, 1.0)
    assert progress.report(epoch(2)) == pytest.approx(50.0)


def test_a_resumed_epoch_counts_only_the_batches_of_this_process(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("train", CONFIG, 100, Stop())
    for batch in (3, 4):  # 1 and 2 were done before
        clock.now += 1.0
        progress.after_batch(batch, 4)
    assert progress.report(epoch(1)) == pytest.approx(25.0)
    # Half an epoch took 2 s: two whole ones take 8 s.
    assert capsys.readouterr().out.endswith("  8 s left\n")


def test_an_epoch_resumed_after_its_last_batch_trained_nothing(clock: Clock) -> None:
    progress = Progress("train", CONFIG, 100, Stop())
    clock.now += 1.0  # scoring alone
    assert progress.report(epoch(1)) == 0.0


def test_long_waits_are_shown_in_minutes(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("train", CONFIG, 100, Stop())
    run_epoch(progress, clock, 100.0, 50.0)
    progress.report(epoch(1))
    assert capsys.readouterr().out.endswith("  5 min left\n")


def test_a_signal_is_passed_on_after_the_batch(clock: Clock) -> None:
    stop = Stop()
    progress = Progress("train", CONFIG, 100, stop)
    assert progress.after_batch(1, 4) is False
    assert not progress.stopped
    stop.signal_number = 15
    assert progress.after_batch(2, 4) is True
    assert progress.stopped


def test_a_terminal_sees_a_bar_that_goes_away(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress("train", CONFIG, 100, Stop())
    run_epoch(progress, clock, 4.0, 1.0)
    progress.report(epoch(1))
    out, err = capsys.readouterr()
    assert "train" in err
    assert "| 0/4 [" in err
    assert err.endswith("\r")  # nothing of it stays
    assert len(out.splitlines()) == 1
