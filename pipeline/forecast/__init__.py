"""What a run will cost on this machine for these data, said before it begins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from components import STEPS, validate
from components.core.errors import PipelineError
from pipeline import busy_cores
from pipeline.forecast import costs, in_words, speeds, work
from pipeline.forecast.advice import Facts
from pipeline.forecast.costs import StepCost

# Any value switches the first line of a run off.
VARIABLE = "PIPELINE_NO_FORECAST"

_LOOK_SECONDS = 0.3  # at the neighbors


@dataclass(frozen=True)
class Forecast:
    """What a run will cost.

    Attributes:
        steps: all of them, in order.
        facts: what advice depends on.
        free_mib: memory that a process can get now; None = not known.
    """

    steps: list[StepCost]
    facts: Facts
    free_mib: float | None

    @property
    def peak_mib(self) -> float:
        """Of the step that takes most."""
        return costs.total(self.steps).mib


def forecast(paths: validate.Paths, *, later: bool = False) -> Forecast:
    """Look at settings, images and machine; the first time that takes some seconds.

    Args:
        paths: where the images are, what the last validation wrote, and the cache folder.
        later: for a run that goes on behind its first step: what is known will do.

    Raises:
        PipelineError: it cannot be known; the message is the reason.
    """
    settings, to_do, task = work.read(paths)
    found = speeds.of_this_machine(task, paths.cache, later=later)
    facts = Facts(
        train=to_do.train,
        architecture=settings.model.architecture,
        batch_size=found.batch_size,
        augmentation=found.augmentation,
        max_model_mb=settings.register.gate.max_model_mb,
        gpu_gib=found.gpu_gib,
        train_image=found.train_image,
        small_batch=found.small_batch,
    )
    return Forecast(costs.step_costs(to_do, found), facts, _free_mebibytes())


def first_line(paths: validate.Paths, begin: str = STEPS[0]) -> str:
    """What a run begins with; empty when it is switched off. Never raises.

    Args:
        paths: those of validate.
        begin: the first step that runs.
    """
    if os.environ.get(VARIABLE):
        return ""
    try:
        known = forecast(paths, later=begin != STEPS[0])
        found = in_words.summary(known.steps[STEPS.index(begin) :])
        return f"forecast  {found}{in_words.beside(busy_cores.look(_LOOK_SECONDS))}"
    except PipelineError as error:
        return f"forecast  not known: {error}"
    except Exception as error:  # noqa: BLE001 - a forecast never ends a run
        return f"forecast  not known: {type(error).__name__}: {error}".splitlines()[0]


def _free_mebibytes() -> float | None:
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kib) / 1024 for kib in found), None)
