"""Workers as processes of their own: the real search on a study, its trainings short naps."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from components.core.training.architectures import ModelParams
from components.core.training.loop import LabeledImages
from components.tune import heartbeat as heartbeats
from components.tune import search, trial_queue
from components.tune.heartbeat import Heartbeat
from components.tune.search_space import SearchSpace
from components.tune.storage import VARIABLE
from components.tune.trial import OUT_OF_TIME, StudyContext, TrialRun
from components.tune.trial_queue import TrialQueue
from tests.factories import training_config

# Its children begin with everything imported.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["optuna", "sqlalchemy", "psycopg", "tests.components.tune.workers"]
)

NAP = 0.15


class Unlogged:
    """In place of MLflow's run: what is logged is another test's concern."""

    @contextmanager
    def child(self, _name: str, **_: object) -> Iterator["Unlogged"]:
        yield self

    def finished_children(self) -> set[str]:
        return set()

    def params(self, _: object) -> None: ...

    def metrics(self, _: object, **__: object) -> None: ...


def make_context(num_trials: int, timeout_seconds: int = 600) -> StudyContext:
    config = training_config(epochs=2, augmentation="light", seed=3)
    images = LabeledImages(np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 0, 1]))
    return StudyContext(
        train=images,
        val=images,
        config=config,
        model=ModelParams(architecture="resnet18", weights="random", image_size=32),
        space=SearchSpace((1e-5, 1e-1), (1, 9), (False,), ({"learning_rate": 1e-3, "epochs": 3},)),
        num_trials=num_trials,
        timeout_seconds=timeout_seconds,
        data_digest="d" * 64,
        num_classes=2,
        name="tune-workers",
    )


def nap(
    trial_run: TrialRun, context: StudyContext, heartbeat: Heartbeat, deadline: float | None
) -> tuple[TrialState, str]:
    """A training without a model: its loss is known beforehand."""
    time.sleep(NAP * random.uniform(0.5, 1.5))
    loss = abs(np.log10(trial_run._config.learning_rate) + 3)
    trial_run._curve = [{"val/loss": loss, "val/accuracy": 0.5}]
    if heartbeat.lost or (deadline is not None and time.monotonic() > deadline):
        return TrialState.PRUNED, OUT_OF_TIME
    return TrialState.COMPLETE, ""


def run_worker(
    place: Path | str, worker: int, num_trials: int, wait: bool, timeout_seconds: int = 600
) -> None:
    """Run trials as one worker; `place` is a journal file or the URL of a database."""
    os.environ.pop(VARIABLE, None)
    if isinstance(place, str):
        os.environ[VARIABLE] = place
    heartbeats.HEARTBEAT_SECONDS, trial_queue.STALE_SECONDS = 0.2, 2.0
    search._POLL_SECONDS = 0.1
    search._train = nap
    random.seed(os.getpid())
    context = make_context(num_trials, timeout_seconds)
    with search.open_study(Path(place), context, worker) as queue:
        search.run_trials(queue, context, Unlogged(), wait=wait)  # type: ignore[arg-type]


def start(*arguments: Any) -> Any:
    process = PROCESSES.Process(target=run_worker, args=arguments)
    process.start()
    return process


def run_worker_to_the_end(journal: Path, num_trials: int) -> None:
    """Run all trials in a process of its own."""
    process = start(journal, 0, num_trials, True)
    process.join()
    assert process.exitcode == 0


@contextmanager
def running(
    place: Path | str, workers: int, num_trials: int, wait: bool = False
) -> Iterator[list[Any]]:
    """Workers 0 to `workers` - 1, the first of whom waits for the others; dead at the end."""
    with ExitStack() as stack:
        processes: list[Any] = []
        stack.callback(lambda: [process.kill() for process in processes])
        processes += [start(place, k, num_trials, wait or k == 0) for k in range(workers)]
        yield processes


def open_queue(journal: Path, num_trials: int) -> TrialQueue:
    """The queue as seen by somebody who runs no trials."""
    with search.open_study(journal, make_context(num_trials), worker=999) as queue:
        return queue


def finished_trials(queue: TrialQueue) -> list[FrozenTrial]:
    """Trials that used up a slot, one of each; fails if a slot was used twice."""
    finished = queue.finished()
    slots = [trial.user_attrs["slot"] for trial in finished]
    assert sorted(slots) == list(range(queue.slots))
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    with_result = {trial.number for trial in queue.study.trials if trial.state in ended}
    numbers = {trial.number for trial in finished}
    assert with_result <= numbers, "a trial beyond the budget"
    return finished


def kill_some(queue: TrialQueue, processes: list[Any], kills: int, restart: Any) -> int:
    """SIGKILL a worker at its trial, again and again; each is restarted under its number.

    Returns how many were killed before the budget was used up.
    """
    done = 0
    while done < kills and len(queue.finished()) < queue.slots:
        running = queue.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        busy = [k for t in running if 0 <= (k := t.user_attrs.get("worker", -1)) < len(processes)]
        if not busy:
            time.sleep(0.02)
            continue
        victim = random.choice(busy) if random.random() < 0.8 else random.randrange(len(processes))
        time.sleep(random.uniform(0, NAP))
        if processes[victim].is_alive():
            os.kill(processes[victim].pid, signal.SIGKILL)
            processes[victim].join()
            processes[victim] = restart(victim)
            done += 1
    return done
