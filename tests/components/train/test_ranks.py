"""Several processes that train one network: equal to one, and ended together."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from components.core.errors import Diverged, Interrupted, PipelineError
from components.train.ranks import count_ranks, launch
from tests.components.train import rank_acts
from tests.factories import training_config

pytestmark = pytest.mark.timeout(600)  # each process imports PyTorch


@pytest.mark.parametrize(
    ("size", "kinds", "stops"), [(2, ("tiny", "resnet18"), ()), (3, ("tiny",), (1, 4))]
)
def test_several_processes_train_as_one_does(
    size: int, kinds: tuple[str, ...], stops: tuple[int, ...], tmp_path: Path
) -> None:
    launch(rank_acts.compare, size, kinds, stops, tmp_path)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(size)]
    for kind in kinds:
        one = rank_acts.curves(kind, rank_acts.group_of(None))
        first = found[0][kind]
        for epoch, expected in zip(first["numbers"], one["numbers"], strict=True):
            assert epoch == pytest.approx(expected, rel=0, abs=1e-5)
        assert one["network"].keys() == first["network"].keys()
        for name, weights in one["network"].items():
            assert torch.allclose(first["network"][name], weights, rtol=1e-3, atol=1e-4), name
        for other in found[1:]:
            assert other[kind]["numbers"] == first["numbers"]  # the same bits
            for name, weights in first["network"].items():
                assert torch.equal(other[kind]["network"][name], weights), name
    for number in stops:  # and continues after a stop to the same bits
        assert [each[f"stop {number}"] for each in found] == [True] * size


def alive(folder: Path) -> list[int]:
    found = []
    for file in folder.glob("*.pid"):
        try:
            os.kill(int(file.read_text()), 0)
            found.append(int(file.read_text()))
        except ProcessLookupError:
            pass
    return found


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_dies_ends_the_others_with_one_line(number: int, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as died:
        launch(rank_acts.die, 2, number, tmp_path)
    assert str(died.value) == (
        f"train: process {number} of 2 died of SIGKILL, for want of memory?; all epochs before "
        "are saved. Run the same command again to continue."
    )
    assert died.value.exit_code == 128 + signal.SIGKILL
    assert len(list(tmp_path.glob("*.pid"))) == 2
    assert alive(tmp_path) == []


def test_an_error_of_ours_is_that_of_the_step() -> None:
    with pytest.raises(Diverged, match=r"^training: nan$"):
        launch(rank_acts.fail, 2, "ours")


def test_another_error_keeps_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match=r"in process 1 of 2:\n(.|\n)*ValueError: a bug"):
        launch(rank_acts.fail, 2, "other")
    assert "Traceback" not in capfd.readouterr().err


def test_a_signal_stops_all_after_saving(tmp_path: Path) -> None:
    def send() -> None:
        while len(list(tmp_path.glob("*.ready"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted, match="Run the same command again") as stopped:
        launch(rank_acts.wait_for_signal, 2, tmp_path)
    sender.join()
    assert stopped.value.exit_code == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("device", "gpus", "batch_size", "num_val_images", "expected"),
    [
        ("cpu", 4, 64, 100, 1),
        ("cuda", 1, 64, 100, 1),
        ("cuda", 4, 64, 100, 4),
        ("cuda", 8, 32, 100, 4),  # eight images each
        ("cuda", 8, 4, 100, 1),
        ("cuda", 8, 64, 3, 3),  # each scores one
    ],
)
def test_each_gpu_has_a_process_if_the_batch_is_large_enough(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    gpus: int,
    batch_size: int,
    num_val_images: int,
    expected: int,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    config = training_config(device=device, batch_size=batch_size)
    assert count_ranks(config, num_val_images) == expected
