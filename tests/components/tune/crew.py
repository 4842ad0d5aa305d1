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
from components.core.training.config import TrainingConfig
from components.core.training.loop import LabeledImages
from components.tune import search, study
from components.tune.storage import VARIABLE
from components.tune.study import Heartbeat, TrialQueue
from components.tune.trial import SearchSpace, Task, TrialRun

# Its children begin with everything imported.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["optuna", "sqlalchemy", "psycopg", "tests.components.tune.crew"])

NAP = 0.15


class Silence:
    """Stands where MLflow's run is: what is logged is another test's concern."""

    @contextmanager
    def child(self, _name: str, **_: object) -> Iterator["Silence"]:
        yield self

    def params(self, _: object) -> None: ...

    def metrics(self, _: object, **__: object) -> None: ...


def make_task(trials: int, seconds: int = 600) -> Task:
    plan = TrainingConfig(
        learning_rate=1e-3,
        epochs=2,
        early_stopping=50,
        batch_size=8,
        augmentation="light",
        rotate_90=False,
        weight_decay=0.0,
        label_smoothing=0.0,
        warmup_fraction=0.0,
        ema_decay=0.0,
        image_size=32,
        progressive_resizing_start=1.0,
        seed=3,
        device="cpu",
        precision="fp32",
        class_weights=(1.0, 1.0),
    )
    rows = LabeledImages(np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 0, 1]))
    return Task(
        train=rows,
        val=rows,
        plan=plan,
        model=ModelParams(architecture="resnet18", weights="random", image_size=32),
        space=SearchSpace((1e-5, 1e-1), (1, 9), {"learning_rate": 1e-3, "epochs": 3}),
        trials=trials,
        seconds=seconds,
        data_digest="d" * 64,
        num_classes=2,
        name="tune-crew",
    )


def nap(
    attempt: TrialRun, task: Task, lease: Heartbeat, deadline: float | None
) -> tuple[TrialState, str]:
    """A training without a model: its loss is known beforehand."""
    time.sleep(NAP * random.uniform(0.5, 1.5))
    attempt._curve = [{"val/loss": abs(np.log10(attempt._plan.learning_rate) + 3)}]
    if lease.lost or (deadline is not None and time.monotonic() > deadline):
        return TrialState.PRUNED, "tune.seconds are used up"
    return TrialState.COMPLETE, ""


def work(place: Path | str, worker: int, trials: int, wait: bool, seconds: int = 600) -> None:
    """One worker's whole life."""
    os.environ.pop(VARIABLE, None)
    if isinstance(place, str):
        os.environ[VARIABLE] = place
    study.HEARTBEAT_SECONDS, study.STALE_SECONDS = 0.2, 2.0
    search._PAUSE_SECONDS = 0.1
    search._train = nap
    random.seed(os.getpid())
    task = make_task(trials, seconds)
    with search.open_study(Path(place), task, worker) as roster:
        search.run_trials(roster, task, Silence(), wait=wait)  # type: ignore[arg-type]


def start(*arguments: Any) -> Any:
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    return process


@contextmanager
def crew(place: Path | str, workers: int, trials: int, wait: bool = False) -> Iterator[list[Any]]:
    """Workers 0 to `workers` - 1, the first of whom waits for the others; dead at the end."""
    with ExitStack() as stack:
        members: list[Any] = []
        stack.callback(lambda: [member.kill() for member in members])
        members += [start(place, k, trials, wait or k == 0) for k in range(workers)]
        yield members


def read(journal: Path, trials: int) -> TrialQueue:
    """The roster of somebody who looks on."""
    with search.open_study(journal, make_task(trials), worker=999) as roster:
        return roster


def held(roster: TrialQueue) -> list[FrozenTrial]:
    """Trials that used up a slot, one of each; fails if a slot was used twice."""
    tried = roster.tried()
    slots = [trial.user_attrs["slot"] for trial in tried]
    assert sorted(slots) == list(range(roster.slots))
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    whole = [t for t in roster.study.trials if t.state in finished]
    numbers = {trial.number for trial in tried}
    assert {trial.number for trial in whole} <= numbers, "a trial beyond the budget"
    return tried


def kill_some(roster: TrialQueue, members: list[Any], kills: int, restart: Any) -> int:
    """SIGKILL a worker at its trial, again and again; each comes back under its number.

    Returns how many were killed before the budget was used up.
    """
    done = 0
    while done < kills and len(roster.tried()) < roster.slots:
        running = roster.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        busy = [k for t in running if 0 <= (k := t.user_attrs.get("worker", -1)) < len(members)]
        if not busy:
            time.sleep(0.02)
            continue
        victim = random.choice(busy) if random.random() < 0.8 else random.randrange(len(members))
        time.sleep(random.uniform(0, NAP))
        if members[victim].is_alive():
            os.kill(members[victim].pid, signal.SIGKILL)
            members[victim].join()
            members[victim] = restart(victim)
            done += 1
    return done
