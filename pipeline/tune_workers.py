"""Several workers on one study: the tune step and processes that share its budget."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from components import tune
from components.core.errors import Interrupted, PipelineError
from components.io import params
from components.io.data.cpus import usable_cpus
from components.io.process import Stop, stop_on_signal
from components.tracking.store import open_store
from pipeline import SETTINGS
from pipeline.starter import STARTED_BY

_POLL_SECONDS = 0.2


def run_worker(worker: int) -> None:
    """Run trials as worker `worker`, from 1, until no trials are left."""
    tune.run_worker(tune.Paths(), worker, params.load(SETTINGS, tune.Params))


def run_workers(workers: int) -> None:
    """Run the tune step, which is worker 0, and `workers` - 1 further processes.

    A further worker that fails costs nothing: the others run its trials.

    Raises:
        PipelineError: the step itself failed; the exit code is its own.
        Interrupted: a signal came; every worker has released its trial.
    """
    commands = [
        ["step", "tune"],
        *(["tune", "--worker", f"{worker}"] for worker in range(1, workers)),
    ]
    mine = os.environ | {STARTED_BY: str(os.getpid())}
    environments = [mine | share for share in share_machine(workers, os.environ)]
    with open_store():  # MLflow's tables, which no two processes can make at once
        pass
    with stop_on_signal() as stop, ExitStack() as stack:
        processes = [
            # A session of its own: a key press reaches it once, through us.
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "pipeline", *command],
                env=environment,
                start_new_session=True,
            )
            for command, environment in zip(commands, environments, strict=True)
        ]
        stack.callback(_kill, processes)
        _wait(processes, stop)
    _report([process.returncode for process in processes], stop)


def _report(codes: Sequence[int], stop: Stop) -> None:
    """Raise unless the step succeeded; say which workers failed, and what comes next."""
    if stop:
        raise Interrupted(
            "tune: stopped by a signal; finished trials are kept. Run the same command again to "
            "continue.",
            stop.signal_number,
        )
    if codes[0]:
        error = PipelineError(
            f"tune: worker 0, the step itself, ended with {codes[0]}, see above. Finished trials "
            "are kept: run the same command again, or `dvc repro`."
        )
        error.exit_code = max(codes[0], PipelineError.exit_code)  # a signal's is negative
        raise error
    for worker, code in enumerate(codes[1:], start=1):
        if code:
            print(f"tune      worker {worker} ended with {code}; the others ran its trials")
    print("tune      next: dvc repro, which uses the results of this search")


def share_machine(workers: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """What each worker sees of the machine: a GPU in turn, and a share of the cores.

    Args:
        workers: how many.
        environment: CUDA_VISIBLE_DEVICES and OMP_NUM_THREADS in it are respected.
    """
    devices = _devices(environment.get("CUDA_VISIBLE_DEVICES"))
    cores = str(max(1, usable_cpus() // workers))
    threads = {"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", cores)}
    return [
        threads | ({"CUDA_VISIBLE_DEVICES": devices[k % len(devices)]} if devices else {})
        for k in range(workers)
    ]


def _devices(visible: str | None) -> list[str]:
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _wait(processes: Sequence[subprocess.Popen[bytes]], stop: Stop) -> None:
    """Wait for all to end; pass a signal on, once."""
    passed_on = False
    while any(process.poll() is None for process in processes):
        if stop and not passed_on:
            passed_on = True
            for process in processes:
                process.send_signal(stop.signal_number)
        time.sleep(_POLL_SECONDS)


def _kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
