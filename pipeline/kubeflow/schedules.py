"""Recurring runs of branches, which Kubeflow Pipelines starts by itself."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from components.core.errors import InvalidParams
from pipeline.kubeflow import kubectl
from pipeline.kubeflow.connection import Connection
from pipeline.kubeflow.versions import Version

NEVER = "never"

# First and last value of each field of a cron expression, and the names that stand for them.
_FIELDS = {
    "minute": (0, 59, ""),
    "hour": (0, 23, ""),
    "day": (1, 31, ""),
    "month": (1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    "weekday": (0, 6, "SUN MON TUE WED THU FRI SAT"),
}

# The server writes the whole workflow before it answers.
_START_SECONDS = 60.0
_PAGE = 100


class Schedule(NamedTuple):
    """A recurring run.

    Attributes:
        id: the server's name for it.
        model: that it makes.
        branch: that it runs.
        every: cron expression of five fields, by the server's clock.
        enabled: whether somebody has switched it off.
    """

    id: str
    model: str
    branch: str
    every: str
    enabled: bool


def require_cron(text: str) -> str:
    """The expression, if it is one of five fields.

    Raises:
        InvalidParams: it is none.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise _no_cron(text, f"has {len(fields)} fields")
    for name, field in zip(_FIELDS, fields, strict=True):
        if not all(_is_valid(part, *_FIELDS[name]) for part in field.split(",")):
            raise _no_cron(text, f"has the {name} {field!r}")
    return " ".join(fields)


def _no_cron(text: str, found: str) -> InvalidParams:
    return InvalidParams(
        f"--every {text!r}: {found}; it should be minute, hour, day, month, weekday, e.g. "
        f"'0 3 * * 1' for Mondays at 3, or {NEVER!r}."
    )


def _is_valid(part: str, first: int, last: int, names: str) -> bool:
    """`*`, a value, or a range; each may have a step behind it, as in `*/15`."""
    found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d?))?", part)
    if not found:
        return False
    numbers = {name: str(first + k) for k, name in enumerate(names.split())}
    ends = [numbers.get(end.upper(), end) for end in found.group(1, 2) if end]
    values = [int(end) for end in ends if end.isdecimal()]
    return len(values) == len(ends) and [first, *values, last] == sorted([first, *values, last])


def read(server: Connection) -> list[Schedule]:
    """All recurring runs that are ours: others are made of other pipelines.

    Raises:
        PipelineError: the server refuses.
        ServiceUnavailable: it does not answer.
    """
    return [found for each in _pages(server) if (found := _schedule(each))]


def _pages(server: Connection) -> Iterator[Any]:
    token = ""
    while True:
        page = server.call(
            lambda token=token: server.sdk.list_recurring_runs(  # type: ignore[misc]
                page_token=token, page_size=_PAGE, namespace=server.namespace
            )
        )
        yield from page.recurring_runs or []
        token = page.next_page_token
        if not token:
            return


def _schedule(found: Any) -> Schedule | None:
    settings = found.runtime_config.parameters if found.runtime_config else None
    cron = found.trigger.cron_schedule if found.trigger else None
    if not settings or "branch" not in settings or not cron:
        return None
    branch = str(settings["branch"])
    return Schedule(
        id=found.recurring_run_id,
        model=found.display_name.removesuffix(f" {branch}"),
        branch=branch,
        every=cron.cron.partition(" ")[2],
        enabled=found.status == "ENABLED",
    )


def replace(
    server: Connection, version: Version, model: str, source: dict[str, str], every: str
) -> str:
    """Make a recurring run, then remove the one that it replaces; returns its id.

    Args:
        server: of Kubeflow Pipelines.
        version: of the pipeline of a branch.
        model: that it makes.
        source: its arguments: repository and branch.
        every: cron expression of five fields.

    Raises:
        PipelineError: the server refuses.
        ServiceUnavailable: it does not answer; what was there is there.
    """
    before = _of(server, model, source["branch"])

    def make() -> Any:
        experiment = server.sdk.create_experiment(model, namespace=server.namespace)
        return server.sdk.create_recurring_run(
            experiment.experiment_id,
            f"{model} {source['branch']}",
            cron_expression=f"0 {every}",  # Kubeflow's begins with seconds
            max_concurrency=1,
            no_catchup=True,
            params=source,
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            service_account=kubectl.ACCOUNT,
        )

    made = server.call(make, _START_SECONDS)
    _delete(server, before)
    return str(made.recurring_run_id)


def remove(server: Connection, model: str, branch: str) -> int:
    """Remove the recurring runs of a branch; returns how many there were.

    Raises:
        PipelineError: the server refuses.
        ServiceUnavailable: it does not answer.
    """
    found = _of(server, model, branch)
    _delete(server, found)
    return len(found)


def _of(server: Connection, model: str, branch: str) -> list[Schedule]:
    return [each for each in read(server) if (each.model, each.branch) == (model, branch)]


def _delete(server: Connection, schedules: list[Schedule]) -> None:
    for each in schedules:
        server.call(lambda id_=each.id: server.sdk.delete_recurring_run(id_))  # type: ignore[misc]
