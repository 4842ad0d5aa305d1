"""A run on the cluster as values: its tasks, what changed, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
SKIPPED = "SKIPPED"

# Final states.
FINAL_STATES = {SUCCEEDED, FAILED, SKIPPED, "CANCELED"}


@dataclass(frozen=True)
class TaskStatus:
    """One task as the server lists it: a step, a worker of a step, or the server's own.

    Attributes:
        key: the server's name for it.
        name: of the task in the graph; the workers of a loop share one.
        state: RUNNING, SUCCEEDED, ... as KFP writes it.
        started: when; None = not yet.
        ended: when; None = not yet.
        message: the server's error message.
    """

    key: str
    name: str
    state: str
    started: datetime | None
    ended: datetime | None
    message: str = ""


@dataclass(frozen=True)
class PipelineRun:
    """A snapshot of a run.

    Attributes:
        run_id: the server's name for it.
        state: as that of a task.
        created: when it was submitted.
        message: the server's error message.
        steps: names of the tasks that run our containers, and the label `pipeline-step` of their
            pods; the other tasks hold the graph together.
        tasks: all tasks, loops unrolled, in no order.
        retries: how often a step may be tried again.
        tracking_uri: of MLflow, as its pods see it; empty = not known.
    """

    run_id: str
    state: str
    created: datetime | None
    message: str
    steps: Mapping[str, str]
    tasks: tuple[TaskStatus, ...]
    retries: int = 0
    tracking_uri: str = ""

    def failed(self) -> list[TaskStatus]:
        """Failed steps, and failed drivers: those prepare a step's pod."""
        return [task for task in self.tasks if task.state == FAILED and self._is_relevant(task)]

    def relevant(self) -> list[TaskStatus]:
        """What a person follows: steps once they have started, drivers only when they fail."""
        # What never runs because another step failed has times, but often no state.
        seen = [task for task in self.tasks if task.state not in ("", SKIPPED)]
        started = [task for task in seen if task.started or task.state in FINAL_STATES]
        return [task for task in started if self._is_relevant(task)]

    def never_ran(self) -> list[str]:
        """Steps that have not started, in the order in which the server lists them: by name."""
        ran = {task.name for task in self.relevant()}
        return [name for name in self.steps if name not in ran]

    def _is_relevant(self, task: TaskStatus) -> bool:
        if task.name.endswith("-driver"):
            return task.state == FAILED and task.name.removesuffix("-driver") in self.steps
        return task.name in self.steps or not self.steps


@dataclass
class RunMonitor:
    """Remembers what was printed about a run, so that only changes are printed."""

    _states: dict[str, str] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def changes(self, run: PipelineRun) -> Iterator[str]:
        """A line for each task whose state has changed: time since the start, step, state."""
        for task in sorted(run.relevant(), key=_time_of):
            if self._states.get(task.key) != task.state:
                self._states[task.key] = task.state
                yield f"{_elapsed(run, task):>8}  {self._label(task):<15}{_describe(task)}"

    def _label(self, task: TaskStatus) -> str:
        """The step's name; workers of one step are numbered in the order in which they started."""
        if task.key not in self._labels:
            self._counts[task.name] += 1
            number = self._counts[task.name]
            self._labels[task.key] = f"{task.name} {number}" if number > 1 else task.name
        return self._labels[task.key]


def _time_of(task: TaskStatus) -> tuple[float, str]:
    moment = task.ended if task.state in FINAL_STATES and task.ended else task.started
    return (moment.timestamp() if moment else 0.0, task.key)


def _elapsed(run: PipelineRun, task: TaskStatus) -> str:
    """Time between the start of the run and the event, by the server's clock."""
    moment = _time_of(task)[0]
    return duration(moment - run.created.timestamp()) if run.created and moment else "-"


def _describe(task: TaskStatus) -> str:
    text = task.state.lower()
    if task.state in FINAL_STATES and task.started and task.ended:
        text += f" after {duration((task.ended - task.started).total_seconds())}"
    return f"{text}: {' '.join(task.message.split())}" if task.message else text


def duration(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
