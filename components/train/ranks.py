"""One training in several processes of this machine, one for each GPU: started, watched, ended.

This process trains nothing: it passes a signal on, and when one of them dies it ends the others
and says which one it was. PyTorch's own starter, torchrun, would print all their tracebacks and
forget the exit code.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from pathlib import Path

from components.core.errors import Interrupted, PipelineError
from components.core.training.config import TrainingConfig
from components.io import process

# Images of a batch that are worth a GPU.
_SMALLEST_SHARE = 8

# For others that die at the same time, and for ending what does not end by itself.
_NOTICE_SECONDS = 1.0
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Rank:
    """One of the processes.

    Attributes:
        number: from 0.
        size: how many there are.
        meeting: file through which they find each other.
    """

    number: int
    size: int
    meeting: Path

    @property
    def failure(self) -> Path:
        """Where it leaves its error."""
        return self.meeting.with_name(f"failure{self.number}")


def count_ranks(config: TrainingConfig, num_val_images: int) -> int:
    """A process for each GPU that is visible, as long as each has eight images of a batch.

    Args:
        config: of the training.
        num_val_images: each process scores some of them.
    """
    if config.device != "cuda":
        return 1
    import torch

    most = min(config.batch_size // _SMALLEST_SHARE, num_val_images)
    return max(1, min(torch.cuda.device_count(), most))


def launch(act: Callable[..., None], size: int, *args: object) -> None:
    """Run `act` in `size` processes until all have succeeded or one has not.

    Args:
        act: what each does, given its `Rank` and `args`; a function of a module.
        size: number of processes.
        args: for `act`.

    Raises:
        PipelineError: what the first to fail raised, or which process died of what.
        Interrupted: a signal came; what was done is saved.
    """
    with tempfile.TemporaryDirectory() as folder, process.stop_on_signal() as stop:
        ranks = [Rank(number, size, Path(folder) / "meeting") for number in range(size)]
        context = get_context("spawn")
        processes = [context.Process(target=_run, args=(rank, act, args)) for rank in ranks]
        try:
            for each in processes:
                each.start()
            _wait(processes, stop)
        finally:
            codes = [each.exitcode for each in processes]
            _end(processes)
        _require_success(ranks, codes, stop)


def _wait(processes: list[SpawnProcess], stop: process.Stop) -> None:
    """Until all have ended or one has failed; a signal is passed on to rank 0, which tells all."""
    passed_on = False
    while any(each.exitcode is None for each in processes):
        if any(each.exitcode for each in processes):
            time.sleep(_NOTICE_SECONDS)  # others may have died of the same
            return
        if stop and not passed_on:
            passed_on = True
            os.kill(processes[0].pid or 0, stop.signal_number)
        running = [each.sentinel for each in processes if each.exitcode is None]
        connection.wait(running, timeout=0.2)


def _end(processes: list[SpawnProcess]) -> None:
    """End those that still run: gently, so that MLflow hears of it, then for good."""
    started = [each for each in processes if each.pid is not None]
    for each in started:
        each.terminate()
    for each in started:
        each.join(_GRACE_SECONDS)
        each.kill()
        each.join()


def _require_success(ranks: list[Rank], codes: list[int | None], stop: process.Stop) -> None:
    if not any(codes):
        return
    if stop:
        raise Interrupted(
            "train: stopped by a signal; what was trained is saved. Run the same command again to "
            "continue.",
            stop.signal_number,
        )
    for rank, code in zip(ranks, codes, strict=True):
        if code is not None and code < 0:
            error = PipelineError(
                f"train: process {rank.number} of {rank.size} died of "
                f"{signal.Signals(-code).name}{', for want of memory?' if code == -9 else ''}; all "
                "epochs before are saved. Run the same command again to continue."
            )
            error.exit_code = 128 - code
            raise error
    failures = [rank.failure for rank in ranks if rank.failure.exists()]
    first = min(failures, key=lambda path: path.stat().st_mtime_ns)
    raise pickle.loads(first.read_bytes())  # noqa: S301 - of our own process


def _run(rank: Rank, act: Callable[..., None], args: tuple[object, ...]) -> None:
    """What a process does: `act`; an error is left to the one that waits."""
    os.setsid()  # a key press reaches it once, through the one that waits
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        act(rank, *args)
    except PipelineError as error:
        _leave(rank, error)
        raise SystemExit(1) from None
    except Exception:  # noqa: BLE001 - told by the process that waits, once
        text = f"in process {rank.number} of {rank.size}:\n{traceback.format_exc()}"
        _leave(rank, RuntimeError(text))
        raise SystemExit(1) from None


def _leave(rank: Rank, error: Exception) -> None:
    rank.failure.write_bytes(pickle.dumps(error))


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
