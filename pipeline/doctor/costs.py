"""What a run will cost here: time and memory, advice by a table, cores that others keep busy."""

from __future__ import annotations

from functools import cache

from components import validate
from components.core.errors import PipelineError
from components.io.data.cpus import usable_cpus
from pipeline import busy_cores
from pipeline.doctor.check import Check, CheckResult
from pipeline.forecast import Forecast, forecast, in_words
from pipeline.forecast.advice import advise

# The row that measures may take so long.
COST, COST_SECONDS = "cost", 45.0

_LOOK_SECONDS = 1.0


def checks() -> dict[str, Check]:
    """Name -> check, in the order of the table; what one of them measures the next one uses."""

    @cache
    def found() -> Forecast | PipelineError:
        try:
            return forecast(validate.Paths())
        except PipelineError as error:
            return error

    return {"cores": cores, COST: lambda: cost(found()), "advice": lambda: advice(found())}


def cores() -> CheckResult:
    """Whether others keep the cores busy that a training would use."""
    busy, cpus = busy_cores.look(_LOOK_SECONDS), usable_cpus()
    if busy < busy_cores.NOTICEABLE:
        return CheckResult("pass", f"{cpus}, idle")
    factor = busy_cores.slowdown(busy)
    found = f"{busy:.1f} of {cpus} are busy: a training takes up to {factor:.1f} times as long"
    return CheckResult("warn", found, "wait until they are idle")


def cost(found: Forecast | PipelineError) -> CheckResult:
    """Time and memory of each step, and whether the memory is there."""
    if isinstance(found, PipelineError):
        return CheckResult("skipped", str(found))
    text, needed, free = in_words.summary(found.steps), found.peak_mib, found.free_mib
    if free is not None and needed > free:
        hint = "end what uses it, or use a smaller training.batch_size or model.image_size"
        return CheckResult("warn", f"{text}; only {in_words.memory(free)} are free", hint)
    return CheckResult("pass", text)


def advice(found: Forecast | PipelineError) -> CheckResult:
    """What the table says of these data on this machine."""
    if isinstance(found, PipelineError):
        return CheckResult("skipped", str(found))
    given = advise(found.facts)
    settings = [each.setting for each in given if each.setting]
    text = "; ".join(each.text for each in given)
    return CheckResult("warn" if settings else "pass", text, ", ".join(settings))
